"""The views of some images, taken out of a source: a head is judged on them while it is trained on the others."""

from collections.abc import Collection

import torch
from torch import Tensor

from models.core.errors import DataError
from models.feature_cache.view_rows import ViewSource

BLOCK = 4096
MOST = 20_000  # rows: at 1,280 features 100 MB, and Spearman's correlation is known to a hundredth


def held_out_views(views: ViewSource, images: Collection[int]) -> tuple[Tensor, Tensor]:
    """Features (M, D) and losses (M,) of the first views of `images`, places as in `ViewRows.images`; M <= 20,000.

    Raises DataError where there are none.
    """
    chosen = torch.tensor(sorted(images), dtype=torch.int64)
    features, losses, found = [], [], 0
    for start in range(0, views.total, BLOCK):
        rows = views.read(start, min(start + BLOCK, views.total))
        here = torch.isin(rows.images, chosen)
        features.append(rows.features[here])
        losses.append(rows.losses[here])
        found += int(here.sum())
        if found >= MOST:
            break
    if not found:
        raise DataError("no view is held out to judge the head by: send more images")
    return torch.cat(features)[:MOST], torch.cat(losses)[:MOST]
