"""Images as they are served, from a cache that was filled: what calibrators and scores are fitted on and judged by."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.core.outputs import LayerGradients, ModelOutputs
from models.feature_cache.cache import FeatureCache


class CachedOutputs:
    """Raises StaleCacheError for a cache that is not filled, ValueError for one of views."""

    def __init__(self, cache: FeatureCache) -> None:
        if cache.key.views is not None or not cache.key.logits:
            raise ValueError("the cache holds no logits of images as they are served: make a key without a view plan")
        cache.require_complete()
        self.cache = cache

    def readable(self, positions: Sequence[int]) -> list[int]:
        """Those of the rows' positions whose images could be read."""
        bad = {position for position, _ in self.cache.bad()}
        return [position for position in positions if position not in bad]

    def take(self, positions: Sequence[int]) -> tuple[ModelOutputs, Tensor]:
        """Logits, features and energies, where there are any, and labels (M,) int64 of M readable rows."""
        wanted = np.asarray(positions, np.int64)
        layout = self.cache.layout
        found = {name: self._column(name, wanted) for name in layout.columns}
        energies = None
        if layout.layers is not None:
            energies = LayerGradients(found["energies"], layout.layers)
        outputs = ModelOutputs(found["logits"], features=found["features"].float(), gradients=energies)
        return outputs, found["labels"]

    def _column(self, name: str, positions: NDArray[np.int64]) -> Tensor:
        kind, shape = self.cache.layout.columns[name]
        taken: NDArray[Any] = np.empty((len(positions), *shape), kind.newbyteorder("="))
        firsts = positions - positions % self.cache.shard_rows
        for first in np.unique(firsts).tolist():
            here = firsts == first
            taken[here] = self.cache.shard(first).columns[name][positions[here] - first]
        return torch.from_numpy(taken)
