"""Intervals for ECE and smooth ECE. Both are biased upwards on a sample, and once more on a resample of it."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from models.metrics._checks import confidence_and_outcome, positive_count
from models.metrics.binning import bin_membership
from models.metrics.bootstrap import Interval
from models.metrics.calibration import expected_calibration_error
from models.metrics.smooth import cell_residuals, fixed_widths, smooth_calibration_error

LEVEL = 0.95
DRAWN_AT_ONCE = 1_000_000  # rows; bounds the memory

Samples = Iterable[tuple[Tensor, Tensor]]  # confidence and correct - confidence, each (R, N)


def calibration_intervals(
    confidence: Tensor, correct: Tensor, *, bins: int = 15, resamples: int = 300, seed: int = 0
) -> dict[str, Interval]:
    """95 % intervals of `ece` (equal width) and `smooth_ece` that allow for their bias.

    `confidence` (N,) in [0, 1], `correct` (N,) bool.

    A percentile interval would lie too high, since resampling adds the noise of a sample a second time. With q the
    highest resampled value but the share (1 - LEVEL) / 2, this one runs from 2 value - q, the low end of the basic
    bootstrap (Davison & Hinkley 1997, section 5.2), which takes the bias off, to q, the high end of the percentile
    bootstrap: of either the safer end. The low end is 0 where a perfectly calibrated model with these confidences reads
    `value` or more with a chance of (1 - LEVEL) / 2 (consistency resampling, Broecker & Smith 2007), because no
    bootstrap is valid near an error of 0.
    """
    confidence, correct = confidence_and_outcome(confidence, correct)
    positive_count(resamples, "resamples")
    observed = _errors(_resampled(confidence, correct, resamples, seed), bins)
    calibrated = _errors(_as_if_calibrated(confidence, resamples, seed), bins)
    values = {
        "ece": expected_calibration_error(confidence, correct, bins=bins),
        "smooth_ece": smooth_calibration_error(confidence, correct),
    }
    return {name: _interval(value, observed[name], calibrated[name]) for name, value in values.items()}


def _interval(value: float, observed: Tensor, calibrated: Tensor) -> Interval:
    highest, by_chance = (float(errors.quantile((1 + LEVEL) / 2)) for errors in (observed, calibrated))
    low = 0.0 if value <= by_chance else max(0.0, 2 * value - highest)
    return Interval(value, low, max(value, highest), LEVEL)


def _errors(samples: Samples, bins: int) -> dict[str, Tensor]:
    """Both errors, (resamples,), of each sample."""
    binned, smooth = [], []
    for confidence, residual in samples:
        binned.append(_binned_errors(confidence, residual, bins))
        smooth.append(fixed_widths(cell_residuals(confidence, residual)))
    return {"ece": torch.cat(binned), "smooth_ece": torch.cat(smooth)}


def _resampled(confidence: Tensor, correct: Tensor, resamples: int, seed: int) -> Samples:
    def rows(shape: tuple[int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        drawn = torch.randint(len(confidence), shape, generator=generator)
        return confidence[drawn], (correct.double() - confidence)[drawn]

    return _batches(rows, len(confidence), resamples, seed)


def _as_if_calibrated(confidence: Tensor, resamples: int, seed: int) -> Samples:
    def outcomes(shape: tuple[int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        chance = torch.rand(shape, generator=generator, dtype=torch.float64)
        return confidence.repeat(shape[0], 1), (chance < confidence).double() - confidence

    return _batches(outcomes, len(confidence), resamples, seed)


def _batches(
    draw: Callable[[tuple[int, int], torch.Generator], tuple[Tensor, Tensor]], count: int, resamples: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    at_once = max(1, min(100, DRAWN_AT_ONCE // count))
    for start in range(0, resamples, at_once):
        yield draw((min(at_once, resamples - start), count), generator)


def _binned_errors(confidence: Tensor, residual: Tensor, bins: int) -> Tensor:
    cells = bin_membership(confidence, bins) + torch.arange(len(confidence))[:, None] * bins
    sums = cells.flatten().bincount(residual.flatten(), minlength=len(confidence) * bins)
    return sums.view(-1, bins).abs().sum(dim=1) / confidence.shape[1]
