"""Whether a score puts rows in the right order; only ranks count, so any increasing change of scale gives the same.

Not torchmetrics: its AUROC squashes scores outside [0, 1] through a sigmoid, which ties distinct large scores, and its
Spearman sums ranks in int32 and adds 1e-6 to the denominator.
"""

import torch
from torch import Tensor

from models.metrics._checks import flag_vector, real_vector, same_length


def auroc(score: Tensor, positive: Tensor) -> float:
    """Chance that a random positive row scores above a random negative one, ties counting half; in [0, 1].

    `score` (N,), higher predicts positive; `positive` (N,) bool. 0.5 is no information. Needs a row of either class.
    Hanley & McNeil 1982, by the rank sum of Mann & Whitney 1947.
    """
    same_length(score=score, positive=positive)
    ranks = _average_ranks(real_vector(score, "score"))
    positive = flag_vector(positive, "positive")
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if positives == 0 or negatives == 0:
        missing = "positive" if positives == 0 else "negative"
        raise ValueError(f"AUROC needs both classes and there is no {missing} row: add rows or skip the measure")
    above = float(ranks[positive].sum()) - positives * (positives + 1) / 2
    return above / (positives * negatives)


def spearman(a: Tensor, b: Tensor) -> float:
    """Pearson correlation of the ranks, ties sharing their mean rank; in [-1, 1], 1 is the same order.

    `a` and `b` (N,), neither of them constant. Spearman 1904.
    """
    same_length(a=a, b=b)
    first, second = (_average_ranks(real_vector(values, name)) for name, values in (("a", a), ("b", b)))
    first, second = first - first.mean(), second - second.mean()
    scale = float(first.norm() * second.norm())
    if scale == 0:
        raise ValueError("Spearman's correlation needs two distinct values on each side: one side is constant")
    return min(1.0, max(-1.0, float(first @ second) / scale))


def _average_ranks(values: Tensor) -> Tensor:
    """1 for the lowest; equal values share the mean of the ranks they cover."""
    _, group, counts = torch.unique(values, return_inverse=True, return_counts=True)
    mean_ranks: Tensor = counts.cumsum(0) - (counts.double() - 1) / 2
    return mean_ranks[group]
