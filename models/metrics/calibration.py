"""How far confidence is from accuracy, in bins, and how much of that distance is only noise of a finite sample.

Not torchmetrics: it closes bins on the left, gives confidence exactly 1 a bin of its own (which changes ECE and MCE of
saturated models), has no equal-mass bins, and takes seconds to import because it loads transformers and torchvision.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.metrics._checks import confidence_and_outcome, positive_count, unit_vector
from models.metrics.binning import Binning, bin_membership


@dataclass(frozen=True)
class ReliabilityBin:
    """One bar of a reliability diagram; `confidence` and `accuracy` are means over its `count` rows.

    Equal-width bins hold lower < confidence <= upper (the first also 0). Equal-mass bins run from their lowest to their
    highest confidence.
    """

    lower: float
    upper: float
    count: int
    confidence: float
    accuracy: float


def expected_calibration_error(
    confidence: Tensor, correct: Tensor, *, bins: int = 15, binning: Binning = "width"
) -> float:
    """ECE in [0, 1], 0 is best: sum over bins of (count / N) * |accuracy - mean confidence|.

    `confidence` (N,) in [0, 1], `correct` (N,) bool. Biased upwards on few rows: read it beside `noise_floor`. With
    "mass" (adaptive ECE) rows of equal confidence are dealt to bins in row order. Naeini et al. 2015; Guo et al.
    2017 (arXiv 1706.04599); equal mass: Nguyen & O'Connor 2015 (arXiv 1508.05154).
    """
    confidence, correct = confidence_and_outcome(confidence, correct)
    return _weighted_gap(confidence, correct, bin_membership(confidence, bins, binning))


def maximum_calibration_error(
    confidence: Tensor, correct: Tensor, *, bins: int = 15, binning: Binning = "width"
) -> float:
    """MCE in [0, 1], 0 is best: the largest |accuracy - mean confidence| of a non-empty bin.

    Inputs as in `expected_calibration_error`. One row alone in a bin can decide it. Naeini et al. 2015.
    """
    confidence, correct = confidence_and_outcome(confidence, correct)
    member = bin_membership(confidence, bins, binning)
    counts = member.bincount(minlength=bins)
    gaps = member.bincount(correct.double() - confidence, minlength=bins).abs()
    return float((gaps / counts.clamp(min=1)).max())


def reliability_bins(
    confidence: Tensor, correct: Tensor, *, bins: int = 15, binning: Binning = "width"
) -> tuple[ReliabilityBin, ...]:
    """The non-empty bins behind the two errors above, lowest confidence first; their counts sum to N."""
    confidence, correct = confidence_and_outcome(confidence, correct)
    member = bin_membership(confidence, bins, binning)
    return tuple(
        _summary(confidence, correct, member == index, _edges(index, bins, binning))
        for index in torch.unique(member).tolist()
    )


def noise_floor(
    confidence: Tensor, *, bins: int = 15, binning: Binning = "width", resamples: int = 200, seed: int = 0
) -> float:
    """Mean ECE that a perfectly calibrated model with these confidences (N,) would read at this N.

    Draws correct ~ Bernoulli(confidence) `resamples` times; an ECE near the floor is no evidence of miscalibration.
    Consistency resampling, Broecker & Smith 2007.
    """
    confidence = unit_vector(confidence, "confidence")
    positive_count(resamples, "resamples")
    member = bin_membership(confidence, bins, binning)  # does not depend on the labels: once is enough
    generator = torch.Generator().manual_seed(seed)
    draws = (torch.rand(len(confidence), generator=generator, dtype=torch.float64) for _ in range(resamples))
    return sum(_weighted_gap(confidence, draw < confidence, member) for draw in draws) / resamples


def _weighted_gap(confidence: Tensor, correct: Tensor, member: Tensor) -> float:
    # (count / N) * |accuracy - confidence| is |sum of (correct - confidence)| / N, so no bin is divided by its count.
    return float(member.bincount(correct.double() - confidence).abs().sum()) / len(confidence)


def _edges(index: int, bins: int, binning: Binning) -> tuple[float, float] | None:
    return (index / bins, (index + 1) / bins) if binning == "width" else None


def _summary(confidence: Tensor, correct: Tensor, rows: Tensor, edges: tuple[float, float] | None) -> ReliabilityBin:
    inside = confidence[rows]
    lower, upper = edges or (float(inside.min()), float(inside.max()))
    return ReliabilityBin(lower, upper, len(inside), float(inside.mean()), float(correct[rows].double().mean()))
