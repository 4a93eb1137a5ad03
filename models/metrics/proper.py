"""Accuracy and the two proper scoring rules: they reward calibration and sharpness together, and need no bins."""

import torch
from torch import Tensor

from models.metrics._checks import class_labels, class_probabilities, class_scores


def negative_log_likelihood(logits: Tensor, labels: Tensor) -> float:
    """Mean of -log softmax(logits)[label] in nats; >= 0, 0 is best.

    `logits` (N, C), a masked choice is -infinity; `labels` (N,) integer. Takes logits, because a probability that was
    rounded to 0 has lost the loss it stands for.
    """
    return float(row_losses(logits, labels).mean())


def row_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """-log softmax(logits)[label] of every row, (N,) float64; its mean is `negative_log_likelihood`."""
    logits = class_scores(logits, "logits")
    labels = class_labels(labels, logits)
    losses = -logits.log_softmax(dim=1).gather(1, labels[:, None])[:, 0]
    if losses.isinf().any():
        raise ValueError("a label points at a class whose logit is -infinity: unmask that choice or correct the label")
    return losses


def brier_score(probabilities: Tensor, labels: Tensor) -> float:
    """Mean over rows of the squared distance to the one-hot label, summed over classes; in [0, 2], 0 is best.

    `probabilities` (N, C) with rows that sum to 1, `labels` (N,) integer. Brier 1950, so twice what two-class code that
    counts one class reports.
    """
    return float(row_brier_scores(probabilities, labels).mean())


def row_brier_scores(probabilities: Tensor, labels: Tensor) -> Tensor:
    """The squared distance of every row, (N,) float64; its mean is `brier_score`."""
    probabilities = class_probabilities(probabilities)
    labels = class_labels(labels, probabilities)
    one_hot = torch.zeros_like(probabilities).scatter_(1, labels[:, None], 1.0)
    return (probabilities - one_hot).square().sum(dim=1)


def accuracy(probabilities_or_logits: Tensor, labels: Tensor) -> float:
    """Share of rows whose largest of C values is the label's, in [0, 1]; of equal values the first class wins."""
    scores = class_scores(probabilities_or_logits, "probabilities_or_logits")
    return float((scores.argmax(dim=1) == class_labels(labels, scores)).double().mean())
