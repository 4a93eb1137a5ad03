"""Calibration by predicted class: which labels the model is too sure or not sure enough of when it gives them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.metrics._checks import class_labels, class_probabilities
from models.metrics.binning import bin_membership


@dataclass(frozen=True)
class ClassFigures:
    """The `count` rows that were predicted to be class `class_index`.

    `accuracy` is the share of them that are, `confidence` their mean, `ece` their ECE (biased upwards on few rows).
    `gap` is confidence - accuracy drawn towards 0 by how few the rows are; above 0 is too sure.
    """

    class_index: int
    count: int
    accuracy: float
    confidence: float
    ece: float
    gap: float


def class_figures(probabilities: Tensor, labels: Tensor, *, bins: int = 15) -> tuple[ClassFigures, ...]:
    """Figures of every class that was predicted at least once, by class; their counts sum to N.

    `probabilities` (N, C), `labels` (N,) integer. Rows are grouped by the predicted class, as top-label calibration
    asks (Gupta & Ramdas 2022, arXiv 2107.08353); by the true class, a calibrated model would seem to be miscalibrated.
    """
    probabilities = class_probabilities(probabilities)
    confidence, predicted = probabilities.max(dim=1)
    correct = (predicted == class_labels(labels, probabilities)).double()
    classes, group, counts = torch.unique(predicted, return_inverse=True, return_counts=True)
    cells = group * bins + bin_membership(confidence, bins)
    errors = cells.bincount(confidence - correct, minlength=len(classes) * bins).view(-1, bins).abs().sum(dim=1)
    means = (group.bincount(correct) / counts, group.bincount(confidence) / counts, errors / counts)
    gaps = _shrunk_gaps(confidence - correct, group, counts)
    columns = (values.tolist() for values in (classes, counts, *means, gaps))
    return tuple(ClassFigures(*row) for row in zip(*columns, strict=True))


def worst_classes(figures: tuple[ClassFigures, ...], limit: int = 10) -> tuple[ClassFigures, ...]:
    """The classes with the largest |gap|, largest first; none where classes differ by no more than chance."""
    by_gap = sorted(figures, key=lambda each: (-abs(each.gap), each.class_index))
    return tuple(each for each in by_gap[:limit] if each.gap != 0)


def _shrunk_gaps(residual: Tensor, group: Tensor, counts: Tensor) -> Tensor:
    """Mean residual of each class times n / (n + noise / spread), n its rows: Efron & Morris 1975, towards 0.

    `noise` is the pooled variance of rows within a class, `spread` the variance between classes beyond it (analysis of
    variance). So one row that is wrong at 0.9 counts for little, and all gaps are 0 where noise explains them.
    """
    means = group.bincount(residual) / counts
    spare = len(residual) - len(counts)
    if spare == 0:  # one row in every class: noise cannot be told from spread
        return torch.zeros_like(means)
    noise = (residual - means[group]).square().sum() / spare
    spread = ((counts * means.square()).sum() - len(counts) * noise) / len(residual)
    return means * counts * spread / (counts * spread + noise) if spread > 0 else torch.zeros_like(means)
