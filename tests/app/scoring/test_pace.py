"""The estimate of what the fast form takes."""

from app.scoring.pace import Pace


def test_what_was_never_measured_is_tried():
    assert Pace().fits(8, 1e-9)
    assert not Pace().fits(8, 0)


def test_time_grows_with_the_items():
    pace = Pace()
    pace.observe(4, 0.4)
    assert pace.fits(8, 0.81)
    assert not pace.fits(8, 0.79)


def test_the_estimate_follows_what_is_measured():
    pace = Pace()
    pace.observe(1, 10.0)
    pace.observe(1, 0.1)
    assert not pace.fits(1, 5.0), "one quick batch does not make it quick"
    for _ in range(50):
        pace.observe(1, 0.1)
    assert pace.fits(1, 0.11)


def test_one_slow_batch_does_not_keep_the_fast_form_away_for_good():
    pace = Pace()
    pace.observe(1, 10.0)
    refused = 0
    while not pace.fits(1, 1.0):
        refused += 1
    assert 100 < refused < 300


def test_what_was_not_enough_only_raises_the_estimate():
    pace = Pace()
    pace.observe(1, 10.0)
    pace.at_least(0.01)
    assert not pace.fits(1, 9.0)
    pace.at_least(30.0)
    assert not pace.fits(1, 25.0)
