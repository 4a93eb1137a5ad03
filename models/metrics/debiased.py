"""ECE less the part that a finite sample adds: closer to what the binned model would read on endless rows."""

import math

import torch
from torch import Tensor

from models.metrics._checks import confidence_and_outcome
from models.metrics.binning import Binning, bin_membership


def debiased_calibration_error(
    confidence: Tensor, correct: Tensor, *, bins: int = 15, binning: Binning = "width"
) -> float:
    """ECE with its bias taken off, in [0, 1], 0 is best; inputs as in `expected_calibration_error`.

    The accuracy of a bin is read as normal with variance a (1 - a) / count. Its gap g then averages a folded normal's
    mean m(g) > g over new samples, so each bin counts 2 g - m(g) in the place of g. That is the resampling estimate of
    Kumar et al. 2019 (arXiv 1909.10155, released code for the l1 error) with its draws replaced by their mean, so there
    is no seed. Takes off all of the bias where a bin is far off, 60 % where it is calibrated, none where all its rows
    are right or all wrong.

    Chosen above ECE-sweep (Roelofs et al. 2022), which sets its own number of bins and could not stand beside `ece`.
    """
    confidence, correct = confidence_and_outcome(confidence, correct)
    member = bin_membership(confidence, bins, binning)
    counts = member.bincount(minlength=bins).double()
    filled = counts > 0
    accuracy = member.bincount(correct.double(), minlength=bins)[filled] / counts[filled]
    mean = member.bincount(confidence, minlength=bins)[filled] / counts[filled]
    spread = (accuracy * (1 - accuracy) / counts[filled]).sqrt()
    debiased = 2 * (accuracy - mean).abs() - _folded_normal_mean((accuracy - mean).abs(), spread)
    return max(0.0, float(counts[filled] @ debiased) / len(confidence))


def _folded_normal_mean(mean: Tensor, spread: Tensor) -> Tensor:
    """Mean of |X|, X normal with `mean` >= 0 and standard deviation `spread`; `mean` itself where that is 0."""
    ratio = mean / spread.clamp(min=torch.finfo(torch.float64).tiny)
    noise = spread * math.sqrt(2 / math.pi) * (-ratio.square() / 2).exp()
    return noise + mean * torch.erf(ratio / math.sqrt(2))
