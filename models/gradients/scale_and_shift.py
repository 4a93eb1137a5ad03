"""y = weight · x + bias for each channel, which is how every normalisation ends: its gradients sum over positions."""

from collections.abc import Callable

import torch
from torch import Tensor

from models.gradients.layer_kind import Batch, Terms
from models.gradients.terms import Direct


def channel_terms(scaled: Tensor, batch: Batch, bias: bool) -> Callable[[Tensor], Terms]:
    """Terms of `weight` and `bias` (C,) for what the weight multiplies, (rows, C, ...)."""
    read = scaled.flatten(2) if scaled.ndim > 2 else scaled[..., None]

    def terms(grads: Tensor) -> Terms:
        flat = grads.reshape(read.shape)
        weight = {"weight": Direct(batch.total(torch.linalg.vecdot(flat, read)))}
        return weight | {"bias": Direct(batch.total(flat.sum(dim=2)))} if bias else weight

    return terms


def feature_terms(scaled: Tensor, shape: tuple[int, ...], batch: Batch, bias: bool) -> Callable[[Tensor], Terms]:
    """Terms of `weight` and `bias` of `shape` for what the weight multiplies, (rows, ..., *shape)."""
    read = scaled.reshape(scaled.shape[0], -1, *shape)

    def terms(grads: Tensor) -> Terms:
        flat = grads.reshape(read.shape)
        weight = {"weight": Direct(batch.total((flat * read).sum(dim=1)))}
        return weight | {"bias": Direct(batch.total(flat.sum(dim=1)))} if bias else weight

    return terms
