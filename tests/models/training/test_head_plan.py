import math

import pytest

from models.core.errors import UnknownNameError
from models.training.head_plan import HeadPlan


def test_the_rate_rises_from_a_tenth_and_falls_to_zero_along_a_cosine():
    plan = HeadPlan(batch=1024, warm_up=0.1)
    rates = [plan.rate_at(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(2e-4)  # 1e-3 times the root of four, and a tenth of it
    assert rates[5] == pytest.approx(2e-3 * 0.55)
    assert rates[10] == max(rates) == plan.highest_rate == pytest.approx(2e-3)
    assert rates[55] == pytest.approx(1e-3)
    assert rates[99] == pytest.approx(2e-3 * (1 - math.cos(math.pi / 90)) / 2)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_without_a_warm_up_it_starts_at_the_highest_rate():
    assert HeadPlan(warm_up=0).rate_at(0, 1) == 1e-3


@pytest.mark.parametrize(("steps", "checks"), [(100, 7), (5, 20), (20, 20), (1, 1), (3, 2)])
def test_checks_are_spread_evenly_and_the_last_step_has_one(steps, checks):
    done = [step for step in range(1, steps + 1) if HeadPlan(checks=checks).is_check(step, steps)]
    assert len(done) == min(steps, checks)
    assert done[-1] == steps
    gaps = [after - before for before, after in zip([0, *done], done, strict=False)]
    assert max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"width": 0}, "width must be at least 1"),
        ({"checks": 0}, "checks must be at least 1"),
        ({"batch": 1}, "compared in pairs"),
        ({"rate": 0.0}, "rate must be above 0"),
        ({"warm_up": 1.0}, "warm_up in"),
    ],
)
def test_refuses_what_cannot_be_trained(given, message):
    with pytest.raises(ValueError, match=message):
        HeadPlan(**given)


def test_an_unknown_loss_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match="all_pairs, pairs, squared"):
        HeadPlan(loss="triplets")
