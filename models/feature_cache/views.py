"""Views of images as a training reads them: from a cache that was filled, or from the network anew each time."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.core.device import use_cores
from models.feature_cache.cache import FeatureCache
from models.feature_cache.forward import Computed, ForwardPasses
from models.feature_cache.shard import Shard
from models.feature_cache.view_order import ViewOrder
from models.feature_cache.view_rows import ViewRows


class CachedViews:
    """Copies slices of memory maps; raises StaleCacheError for a cache that is not filled, or is not of views."""

    def __init__(self, cache: FeatureCache) -> None:
        if cache.key.views is None:
            raise ValueError("the cache holds images as they are served: make a key with a view plan")
        cache.require_complete()
        self.cache = cache
        self._order = ViewOrder(cache.key.views, cache.key.images)

    @property
    def total(self) -> int:
        return self.cache.key.total

    def read(self, start: int, stop: int) -> ViewRows:
        _check_range(start, stop, self.total)
        parts = list(self.cache.slices(start, stop))
        readable = np.concatenate([shard.readable[rows] for shard, rows in parts])
        kept = slice(None) if readable.all() else readable
        features, losses, labels = (
            torch.from_numpy(_joined(parts, name, kind)[kept])
            for name, kind in (("features", np.float32), ("losses", np.float32), ("labels", np.int64))
        )
        images = torch.from_numpy(self._order.positions(start, stop)[kept])
        return ViewRows(features, losses, labels, images)


class LiveViews:
    """Decodes, augments and runs the network for every read, in so many threads."""

    def __init__(self, passes: ForwardPasses, threads: int) -> None:
        if passes.plan is None:
            raise ValueError("the passes are over images as they are served: give them a view plan")
        self.passes = passes
        self.threads = threads

    @property
    def total(self) -> int:
        return self.passes.total

    def read(self, start: int, stop: int) -> ViewRows:
        _check_range(start, stop, self.total)
        size = self.passes.batch_rows
        starts = range(start, stop, size)
        with ThreadPoolExecutor(self.threads, "howsure-views", initializer=use_cores, initargs=(1,)) as pool:
            found = list(pool.map(lambda first: self.passes.compute(first, min(first + size, stop)), starts))
        return _rows(found)


def _check_range(start: int, stop: int, total: int) -> None:
    if not 0 <= start < stop <= total:
        raise ValueError(f"views {start} to {stop} asked for, there are {total}")


def _joined(parts: Sequence[tuple[Shard, slice]], name: str, kind: type[np.generic]) -> NDArray[Any]:
    """A copy of a column, as a plain array in the machine's byte order."""
    return np.concatenate([np.asarray(shard.columns[name][rows], kind) for shard, rows in parts])


def _rows(found: Sequence[Computed]) -> ViewRows:
    return ViewRows(
        torch.cat([part.features for part in found]),
        torch.cat([part.losses for part in found]),
        torch.from_numpy(np.concatenate([part.labels[part.readable] for part in found])),
        torch.from_numpy(np.concatenate([part.images[part.readable] for part in found])),
    )
