"""Local calibration error: miscalibration among rows that look alike, which an average over all rows cancels."""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.metrics._checks import confidence_and_outcome, feature_rows, positive_count, same_length
from models.metrics.binning import bin_membership

WEIGHTS_AT_ONCE = 4_000_000  # kernel weights held at a time: 32 MB

DIGITS = 9  # the last ones depend on how many threads find the principal components


@dataclass(frozen=True)
class LocalCalibrationError:
    """Mean and largest error over rows, in [0, 1]; a `_floor` is what perfectly calibrated confidences would read."""

    mean: float
    mean_floor: float
    maximum: float
    maximum_floor: float


def local_calibration_error(
    features: Tensor,
    confidence: Tensor,
    correct: Tensor,
    *,
    bins: int = 15,
    bandwidth: float = 0.2,
    resamples: int = 20,
    seed: int = 0,
) -> LocalCalibrationError:
    """Error of each row over the rows of its confidence bin (equal width), nearer ones in `features` counting more.

    LCE(x) = |sum of k(x, i) (confidence_i - correct_i)| / sum of k(x, i), k = exp(-L1 distance / bandwidth), over the
    bin of x, itself included; `features` (N, D) as `reduced_features` gives them, `confidence` (N,), `correct` (N,)
    bool. A wide bandwidth gives the gap of the bin, a narrow one the noise of single rows: read it beside its floor,
    which redraws the outcomes `resamples` times. Time grows with the square of the rows in a bin, memory does not.
    Luo et al. 2022 (arXiv 2102.10809); bandwidth and floor are ours.
    """
    confidence, correct = confidence_and_outcome(confidence, correct)
    features = feature_rows(features)
    same_length(features=features, confidence=confidence)
    positive_count(resamples, "resamples")
    if not bandwidth > 0:
        raise ValueError(f"bandwidth must be above 0, got {bandwidth}")
    residuals = _residuals(confidence, correct, resamples, seed)
    member = bin_membership(confidence, bins)
    errors = torch.empty_like(residuals)
    for index in torch.unique(member):
        inside = member == index
        errors[inside] = _local_errors(features[inside], residuals[inside], bandwidth)
    mean, maximum = errors.mean(dim=0), errors.amax(dim=0)
    found = (mean[0], mean[1:].mean(), maximum[0], maximum[1:].mean())
    return LocalCalibrationError(*(round(float(value), DIGITS) for value in found))


def _residuals(confidence: Tensor, correct: Tensor, resamples: int, seed: int) -> Tensor:
    """(N, 1 + resamples): as observed, then with outcomes drawn by the confidences."""
    generator = torch.Generator().manual_seed(seed)
    chance = torch.rand(resamples, len(confidence), generator=generator, dtype=torch.float64).T
    outcomes = torch.cat([correct[:, None], chance < confidence[:, None]], dim=1)
    return confidence[:, None] - outcomes.double()


def _local_errors(features: Tensor, residuals: Tensor, bandwidth: float) -> Tensor:
    parts = []
    for rows in torch.split(features, max(1, WEIGHTS_AT_ONCE // len(features))):
        weights = (torch.cdist(rows, features, p=1) / -bandwidth).exp()
        parts.append((weights @ residuals).abs() / weights.sum(dim=1, keepdim=True))
    return torch.cat(parts)
