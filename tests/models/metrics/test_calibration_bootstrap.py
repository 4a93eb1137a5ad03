import numpy as np
import pytest
import torch

from models.metrics.calibration import expected_calibration_error
from models.metrics.calibration_bootstrap import calibration_intervals
from models.metrics.smooth import smooth_calibration_error

DOUBLE = torch.float64


@pytest.mark.parametrize("power", [1, 3])
def test_intervals_are_those_of_resampling_one_sample_at_a_time(power):
    generator = torch.Generator().manual_seed(5)
    confidence, chance = torch.rand(2, 60, generator=generator, dtype=DOUBLE)
    correct = chance < confidence**power
    drawn = calibration_intervals(confidence, correct, bins=4, resamples=30, seed=7)

    rows = torch.randint(60, (30, 60), generator=torch.Generator().manual_seed(7))
    redrawn = torch.rand(30, 60, generator=torch.Generator().manual_seed(7), dtype=DOUBLE) < confidence
    measures = {
        "ece": lambda *sample: expected_calibration_error(*sample, bins=4),
        "smooth_ece": smooth_calibration_error,
    }
    for name, measure in measures.items():
        value = measure(confidence, correct)
        highest = np.quantile([measure(confidence[row], correct[row]) for row in rows], 0.975)
        by_chance = np.quantile([measure(confidence, row) for row in redrawn], 0.975)
        assert drawn[name].value == pytest.approx(value, abs=1e-9)
        assert drawn[name].high == pytest.approx(max(value, highest), abs=1e-9)
        assert drawn[name].low == pytest.approx(0 if value <= by_chance else 2 * value - highest, abs=1e-9)
    assert (drawn["ece"].low == 0) == (power == 1)


@pytest.mark.parametrize("power", [1, 1.2, 2])
def test_an_interval_holds_the_error_of_endless_rows_as_often_as_it_says(power):
    generator = torch.Generator().manual_seed(0)
    confidence, chance = torch.rand(2, 200_000, generator=generator, dtype=DOUBLE)
    correct = chance < confidence**power
    endless = 0 if power == 1 else expected_calibration_error(confidence, correct)
    parts = zip(confidence[:9_000].split(300), correct[:9_000].split(300), strict=True)
    intervals = [calibration_intervals(*part, resamples=100) for part in parts]
    for name in ("ece", "smooth_ece"):
        held = sum(each[name].low <= endless <= each[name].high for each in intervals)
        assert held >= 25  # of 30; 95 % gives fewer with a chance of 1 %
    # The value itself is too high to be an estimate: a percentile interval would often lie above the truth.
    assert sum(each["ece"].value for each in intervals) / 30 > endless


def test_repeatable_and_follows_the_seed():
    confidence = torch.linspace(0.2, 0.9, 80, dtype=DOUBLE)
    correct = torch.arange(80) % 3 == 0
    first, again, other = (calibration_intervals(confidence, correct, resamples=20, seed=s) for s in (1, 1, 2))
    assert first == again != other


def test_the_number_of_samples_drawn_at_a_time_plays_no_part(monkeypatch):
    confidence = torch.linspace(0.2, 0.9, 80, dtype=DOUBLE)
    correct = torch.arange(80) % 3 == 0
    at_once = calibration_intervals(confidence, correct, resamples=20)
    monkeypatch.setattr("models.metrics.calibration_bootstrap.DRAWN_AT_ONCE", 80)
    one_by_one = calibration_intervals(confidence, correct, resamples=20)
    for name in ("ece", "smooth_ece"):
        assert one_by_one[name].high == pytest.approx(at_once[name].high, abs=1e-9)


@pytest.mark.parametrize(
    ("confidence", "options", "message"),
    [
        (torch.tensor([2.0]), {}, r"in \[0, 1\]"),
        (torch.tensor([0.5]), {"bins": 0}, "bins must be at least 1"),
        (torch.tensor([0.5]), {"resamples": 0}, "resamples must be at least 1"),
    ],
)
def test_refuses_bad_input(confidence, options, message):
    with pytest.raises(ValueError, match=message):
        calibration_intervals(confidence, torch.ones(1, dtype=torch.bool), **options)
