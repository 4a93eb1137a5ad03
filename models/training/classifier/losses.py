"""Losses to train a classifier by: (logits (N, C), labels (N,)) → one number a row (N,)."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, one_hot

RowLoss = Callable[[Tensor, Tensor], Tensor]
FOCAL_GAMMA = 3.0
FLSD_GAMMAS = ((0.2, 5.0), (1.0, 3.0))  # up to this probability of the label, this gamma
CALIBRATION_WEIGHT = 0.5  # ours: the paper's λ was not found


def plain(logits: Tensor, labels: Tensor) -> Tensor:
    """-log p_t, in nats."""
    return cross_entropy(logits, labels, reduction="none")


def focal(logits: Tensor, labels: Tensor) -> Tensor:
    """-(1 - p_t)^3 log p_t (Lin et al. 2017; arXiv 2002.09437)."""
    log_p = _log_of_label(logits, labels)
    return _focal(log_p, torch.full_like(log_p, FOCAL_GAMMA))


def flsd53(logits: Tensor, labels: Tensor) -> Tensor:
    """Focal loss with gamma 5 where p_t < .2 and 3 elsewhere (FLSD-53 of arXiv 2002.09437, as released)."""
    log_p = _log_of_label(logits, labels)
    (limit, low), (_, high) = FLSD_GAMMAS
    return _focal(log_p, torch.where(log_p.detach().exp() < limit, low, high))


def focal_calibration(logits: Tensor, labels: Tensor) -> Tensor:
    """Focal loss + λ ‖p - onehot(y)‖² (arXiv 2410.18321): the added term is strictly proper."""
    distance = (logits.softmax(dim=1) - one_hot(labels, logits.shape[1])).square().sum(dim=1)
    return focal(logits, labels) + CALIBRATION_WEIGHT * distance


LOSSES: dict[str, RowLoss] = {
    "cross_entropy": plain,
    "focal": focal,
    "flsd53": flsd53,
    "focal_calibration": focal_calibration,
}


def smoothed(share: float) -> RowLoss:
    """Cross-entropy to labels of which `share` is spread evenly over all classes."""
    return lambda logits, labels: cross_entropy(logits, labels, reduction="none", label_smoothing=share)


def _log_of_label(logits: Tensor, labels: Tensor) -> Tensor:
    return log_softmax(logits, dim=1).gather(1, labels[:, None])[:, 0]


def _focal(log_p: Tensor, gamma: Tensor) -> Tensor:
    return -(-torch.expm1(log_p)).pow(gamma) * log_p
