"""Whether the nearest other row has the same class, and whether an uncertainty tells: the measures of arXiv 2402.16569.

Rows are features (N, D), N >= 2, compared by cosine; labels (N,) are integers and need not be classes of the model. A
row that is alone in its class cannot be right; it stays, and is wrong, as in the released code.
"""

import torch
from torch import Tensor

from models.metrics._checks import real_vector, same_length
from models.metrics.ranking import auroc

CHUNK = 1024  # queries at a time: at 50,000 rows their similarities take 200 MB


def nearest_is_right(features: Tensor, labels: Tensor) -> Tensor:
    """(N,) bool: whether the row with the highest cosine, other than itself, has the row's label.

    Computed in float32, in float64 for features of that type: rows whose cosines are equal to rounding are tied, and
    any of them may be the nearest. Raises ValueError for a row of length 0, which has no direction.
    """
    directions = _directions(features)
    labels = _labels(labels, directions)
    nearest = torch.empty(len(labels), dtype=torch.int64, device=directions.device)
    for start in range(0, len(labels), CHUNK):
        similarity = directions[start : start + CHUNK] @ directions.T
        rows = torch.arange(len(similarity), device=directions.device)
        similarity[rows, start + rows] = -torch.inf
        nearest[start : start + CHUNK] = similarity.argmax(dim=1)
    return (labels[nearest.to(labels.device)] == labels).cpu()


def recall_at_1(features: Tensor, labels: Tensor) -> float:
    """Share of rows whose nearest other row has the same label; in [0, 1]."""
    return float(nearest_is_right(features, labels).double().mean())


def r_auroc(features: Tensor, labels: Tensor, uncertainty: Tensor) -> float:
    """AUROC of a low `uncertainty` (N,) for a right nearest row; in [0, 1], 0.5 is no information, 1 is best.

    Raises ValueError where all are right or all wrong.
    """
    same_length(features=features, labels=labels, uncertainty=uncertainty)
    return auroc(-real_vector(uncertainty, "uncertainty"), nearest_is_right(features, labels))


def safe_retrieval(features: Tensor, labels: Tensor, uncertainty: Tensor, drop: float = 0.1) -> float:
    """Recall at 1 without the share `drop` of each class that is most uncertain, neither as queries nor to be found.

    Kept are rows at or below the class's (1 - drop) quantile of `uncertainty` (N,): of a class of one row that row, of
    equal ones all. To be compared with `recall_at_1` of all rows.
    """
    if not 0 <= drop < 1:
        raise ValueError(f"drop is a share in [0, 1), such as 0.1, got {drop}")
    same_length(features=features, labels=labels, uncertainty=uncertainty)
    kept = _certain(real_vector(uncertainty, "uncertainty"), labels, 1 - drop)
    return recall_at_1(features[kept], labels[kept])


def _certain(uncertainty: Tensor, labels: Tensor, share: float) -> Tensor:
    kept = torch.zeros(len(labels), dtype=torch.bool)
    for label in torch.unique(labels):
        rows = labels == label
        kept[rows] = uncertainty[rows] <= uncertainty[rows].quantile(share)
    return kept


def _directions(features: Tensor) -> Tensor:
    if features.ndim != 2 or len(features) < 2:
        shape = tuple(features.shape)
        raise ValueError(f"features must have shape (N, D) with N >= 2, got {shape}: a row alone has no nearest one")
    rows = features.detach() if features.dtype == torch.float64 else features.detach().float()
    lengths = rows.norm(dim=1, keepdim=True)
    if not bool(lengths.isfinite().all()) or not bool((lengths > 0).all()):
        raise ValueError("a row of the features has length 0, or holds NaN or infinity: drop those rows first")
    directions: Tensor = rows / lengths
    return directions


def _labels(labels: Tensor, rows: Tensor) -> Tensor:
    same_length(labels=labels, features=rows)
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"labels must be (N,) integers, got {tuple(labels.shape)} {labels.dtype}: call .long()")
    return labels
