"""Exact members of the family of scores out of layer norms that are computed once."""

import torch
from torch import Tensor

from models.gradients.class_gradients import L1, SQUARED_L2, ClassGradients
from models.gradients.family import Classes, Family, directions, layer_weights
from models.gradients.layer_kind import Batch


def layer_norms(gradients: ClassGradients, rows: Tensor, family: Family, copies: int = 1) -> Tensor:
    """(C, N, L) float64: ||p_c^(alpha/r) g_c^(l)||_q^q of every layer, the mean vector of each sample's copies.

    `rows` (N · copies, ...) have the copies of one sample in a row. Decay, depth and sign of `family` play no part.
    """
    found = []
    for part in rows.split(gradients.rows_at_a_time(copies)):
        batch = Batch(len(part) // copies, copies)
        norm = L1 if family.q == 1 else SQUARED_L2
        found.append(gradients.norms(part, batch, directions(family, copies), norm)[1].double())
    return torch.cat(found, dim=1)


def class_norms(gradients: ClassGradients, images: Tensor, q: int) -> Tensor:
    """(C, N, L): ||g_c^(l)||_q^q without any class weight."""
    return layer_norms(gradients, images, Family(alpha=0, q=q))


def combined(norms: Tensor, family: Family, weights: Tensor | None = None) -> Tensor:
    """(N,): the score of norms (C, N, L) for the decay, depth and r of `family`; `weights` (C, N) of the classes."""
    layers = norms.shape[2]
    depth = min(family.depth or layers, layers)
    decay = layer_weights(family.decay, layers)[-depth:]
    classes = (norms[:, :, -depth:] @ decay) ** (family.r / family.q)
    return family.sign * (classes if weights is None else weights * classes).sum(dim=0)


def class_weights(probabilities: Tensor, family: Family) -> Tensor:
    """(C, N) for probabilities (N, C): what a score of unweighted class norms weighs each class by."""
    if family.classes is Classes.EVERY:
        return (probabilities**family.alpha).T
    if family.classes is Classes.PREDICTED:
        return torch.nn.functional.one_hot(probabilities.argmax(dim=1), probabilities.shape[1]).T.double()
    raise ValueError("the mean gradient over classes is no sum of class norms: use last_layer_score")


def last_layer_score(logits: Tensor, features: Tensor, family: Family) -> Tensor:
    """(N,): `family` at depth 1 in closed form, from logits (N, C) and features (N, D).

    g_c = (e_c - p) [h; 1]^T, hence ||g_c||_q^q = ||e_c - p||_q^q (1 + ||h||_q^q).
    """
    probabilities = logits.double().softmax(dim=1)
    read = 1 + features.double().abs().pow(family.q).sum(dim=1)
    if family.classes is Classes.UNIFORM:
        off = (1 / probabilities.shape[1] - probabilities).abs().pow(family.q).sum(dim=1)
        return family.sign * (off * read) ** (family.r / family.q)
    others = probabilities.pow(family.q).sum(dim=1, keepdim=True) - probabilities**family.q
    norms = ((1 - probabilities) ** family.q + others) * read[:, None]
    return combined(norms.T[:, :, None], family, class_weights(probabilities, family))
