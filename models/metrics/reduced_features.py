"""Features in few dimensions, for measures that compare rows with their neighbours."""

import torch
from torch import Tensor, from_numpy

from models.metrics._checks import feature_rows


def reduced_features(features: Tensor, *, dimensions: int = 20, seed: int = 0) -> Tensor:
    """The first principal components of `features` (N, D), as (N, min(dimensions, N, D)) float64.

    Scaled by one number, so that the standard deviations of the components sum to 1: two rows then lie about 1 apart in
    L1 distance whatever the network and its unit. Constant features give zeros.
    """
    # A second to import, and needed only where there are features.
    from sklearn.utils.extmath import randomized_svd  # type: ignore[import-untyped]

    matrix = feature_rows(features)
    size = min(dimensions, *matrix.shape)
    left, lengths, _ = randomized_svd((matrix - matrix.mean(dim=0)).numpy(), size, random_state=seed)
    found = from_numpy(left * lengths)
    scale = float(found.std(dim=0, correction=0).sum())
    return found / scale if scale > 0 else torch.zeros_like(found)
