import pytest
import torch

from models.metrics.bootstrap import Interval, bootstrap_interval
from models.metrics.ranking import auroc

VALUES = torch.linspace(0, 1, 40, dtype=torch.float64) ** 2


def test_interval_holds_the_truth_about_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    samples = torch.rand(300, 60, generator=generator, dtype=torch.float64) ** 2  # mean 1/3
    intervals = [bootstrap_interval(torch.mean, sample, resamples=200, level=0.8) for sample in samples]
    held = sum(part.low <= 1 / 3 <= part.high for part in intervals) / len(intervals)
    assert 0.72 < held < 0.86


def test_width_of_a_mean_is_what_theory_says():
    interval = bootstrap_interval(torch.mean, VALUES, resamples=4000, level=0.9)
    error = float(VALUES.std(correction=0)) / 40**0.5
    assert interval.value == pytest.approx(float(VALUES.mean()))
    assert interval.low == pytest.approx(interval.value - 1.645 * error, abs=0.1 * error)
    assert interval.high == pytest.approx(interval.value + 1.645 * error, abs=0.1 * error)


def test_the_same_rows_are_drawn_from_every_tensor():
    pairs = torch.stack([VALUES, -VALUES], dim=1)
    interval = bootstrap_interval(lambda a, b: float((a - b[:, 0]).abs().max()), VALUES, pairs)
    assert interval == Interval(0.0, 0.0, 0.0, 0.95)


def test_a_single_row_has_no_spread():
    assert bootstrap_interval(torch.mean, torch.tensor([3.0])) == Interval(3.0, 3.0, 3.0, 0.95)


def test_repeatable_and_follows_the_seed():
    first, again, other = (bootstrap_interval(torch.mean, VALUES, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ((), {}, "one or more tensors"),
        ((torch.empty(0),), {}, "N >= 1"),
        ((torch.tensor(1.0),), {}, "N >= 1"),
        ((VALUES, VALUES[1:]), {}, "lengths differ"),
        ((VALUES,), {"resamples": 0}, "resamples must be at least 1"),
        ((VALUES,), {"level": 1.0}, "between 0 and 1"),
        ((VALUES,), {"level": 95}, "between 0 and 1"),
    ],
)
def test_refuses_bad_input(rows, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(lambda *tensors: 0.0, *rows, **options)


def test_refuses_a_statistic_that_is_undefined_on_some_draws():
    with pytest.raises(ValueError, match="NaN or infinite"):
        bootstrap_interval(torch.std, torch.tensor([1.0, float("nan")]))


def test_lets_the_error_of_a_statistic_through():
    with pytest.raises(ValueError, match="AUROC needs both classes"):
        bootstrap_interval(auroc, torch.tensor([1.0, 2.0]), torch.tensor([True, False]))
