"""Some views of a source, as a source of their own."""

from collections.abc import Collection
from typing import Self

import torch

from models.feature_cache.view_rows import ViewRows, ViewSource

BLOCK = 4096


class ChosenViews:
    """Those of some images, in memory, in the source's order: batches are full however few the images are."""

    def __init__(self, rows: ViewRows) -> None:
        self.rows = rows

    @classmethod
    def of(cls, views: ViewSource, images: Collection[int]) -> Self:
        """`images` are places as in `ViewRows.images`."""
        wanted = torch.tensor(sorted(images), dtype=torch.int64)
        starts = range(0, views.total, BLOCK)
        parts = [_kept(views.read(start, min(start + BLOCK, views.total)), wanted) for start in starts]
        return cls(ViewRows(*(torch.cat(columns) for columns in zip(*map(_columns, parts), strict=True))))

    @property
    def total(self) -> int:
        return len(self.rows.losses)

    def read(self, start: int, stop: int) -> ViewRows:
        return ViewRows(*(column[start:stop] for column in _columns(self.rows)))


class SomeViews:
    """Views `start` to `stop` - 1 of a source, which is read only as they are asked for."""

    def __init__(self, views: ViewSource, start: int, stop: int) -> None:
        self.views, self.start, self.total = views, start, stop - start

    def read(self, start: int, stop: int) -> ViewRows:
        return self.views.read(self.start + start, self.start + stop)


def _kept(rows: ViewRows, images: torch.Tensor) -> ViewRows:
    here = torch.isin(rows.images, images)
    return ViewRows(*(column[here] for column in _columns(rows)))


def _columns(rows: ViewRows) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    return rows.features, rows.losses, rows.labels, rows.images
