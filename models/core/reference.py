"""Percentiles: where a score stands among the scores of the checkpoint's reference set."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from models.core.errors import CheckpointError

LARGEST = 1001


@dataclass(frozen=True, slots=True)
class Reference:
    """Sorted scores of the reference set (Q,), thinned to at most 1,001 evenly spaced order statistics."""

    values: Tensor  # (Q,) float32, ascending

    @classmethod
    def fit(cls, scores: Tensor) -> Self:
        """From the scores (N,) of N >= 1 reference inputs. Raises ValueError for none, or for NaN."""
        if scores.ndim != 1 or len(scores) == 0 or not bool(torch.isfinite(scores).all()):
            raise ValueError(f"a reference needs finite scores (N,), N >= 1, got shape {tuple(scores.shape)}")
        ordered = scores.detach().float().cpu().sort().values
        if len(ordered) > LARGEST:
            ordered = ordered[torch.linspace(0, len(ordered) - 1, LARGEST).round().long()]
        return cls(ordered)

    @classmethod
    def load(cls, values: Tensor) -> Self:
        if values.ndim != 1 or len(values) == 0 or not bool((values.diff() >= 0).all() and values.isfinite().all()):
            raise CheckpointError(f"reference values must be ascending (Q,), got shape {tuple(values.shape)}")
        return cls(values)

    def percentile(self, scores: Tensor) -> Tensor:
        """(N,) in [0, 1]: the share of the reference that scores lower."""
        return torch.searchsorted(self.values, scores.cpu().contiguous()).float() / len(self.values)
