"""Input checks shared by the metrics. Each returns its input ready for use, or raises ValueError with the fix."""

import torch
from torch import Tensor


def real_vector(values: Tensor, name: str) -> Tensor:
    """(N,) finite, as float64 and cut from the autograd graph."""
    if values.ndim != 1 or values.numel() == 0:
        raise ValueError(f"{name} must have shape (N,) with N >= 1, got {tuple(values.shape)}: pass one value per row")
    vector = values.detach().to(torch.float64)
    if not vector.isfinite().all():
        raise ValueError(f"{name} contains NaN or infinity: drop or repair those rows first")
    return vector


def unit_vector(values: Tensor, name: str) -> Tensor:
    vector = real_vector(values, name)
    if vector.min() < 0 or vector.max() > 1:
        raise ValueError(f"{name} must lie in [0, 1]: pass probabilities, not logits or percentages")
    return vector


def flag_vector(values: Tensor, name: str) -> Tensor:
    if values.dtype != torch.bool:
        raise ValueError(f"{name} must be a bool tensor, got {values.dtype}: pass a comparison such as `labels == 1`")
    return real_vector(values, name).bool()


def confidence_and_outcome(confidence: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) float64 in [0, 1] and (N,) bool."""
    same_length(confidence=confidence, correct=correct)
    return unit_vector(confidence, "confidence"), flag_vector(correct, "correct")


def feature_rows(features: Tensor, name: str = "features") -> Tensor:
    """(N, D) finite, as float64 and cut from the autograd graph."""
    if features.ndim != 2 or features.numel() == 0:
        raise ValueError(f"{name} must have shape (N, D) with N, D >= 1, got {tuple(features.shape)}: flatten each row")
    matrix = features.detach().to(torch.float64)
    if not matrix.isfinite().all():
        raise ValueError(f"{name} contains NaN or infinity: drop or repair those rows first")
    return matrix


def class_scores(scores: Tensor, name: str) -> Tensor:
    """(N, C) as float64. Minus infinity is allowed, because it is how a missing choice is masked."""
    if scores.ndim != 2 or scores.numel() == 0:
        raise ValueError(f"{name} must have shape (N, C) with N, C >= 1, got {tuple(scores.shape)}")
    matrix = scores.detach().to(torch.float64)
    if matrix.isnan().any() or matrix.isposinf().any():
        raise ValueError(f"{name} contains NaN or +infinity: drop or repair those rows first")
    if matrix.isneginf().all(dim=1).any():
        raise ValueError(f"{name} has a row that is -infinity everywhere: leave at least one class unmasked")
    return matrix


def class_probabilities(probabilities: Tensor) -> Tensor:
    matrix = class_scores(probabilities, "probabilities")
    # 1e-3 lets float16 softmax rows pass and still catches logits and unnormalised scores.
    if matrix.min() < 0 or (matrix.sum(dim=1) - 1).abs().max() > 1e-3:
        raise ValueError("probabilities must be >= 0 with rows that sum to 1: pass softmax output, not logits")
    return matrix


def class_labels(labels: Tensor, scores: Tensor) -> Tensor:
    """(N,) int64 in 0..C-1, for `scores` (N, C)."""
    if labels.dtype == torch.bool or labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"labels must be class indices of an integer dtype, got {labels.dtype}: call .long()")
    if labels.ndim != 1:
        raise ValueError(
            f"labels must have shape (N,), got {tuple(labels.shape)}: pass class indices, not one-hot rows"
        )
    same_length(labels=labels, scores=scores)
    if labels.min() < 0 or labels.max() >= scores.shape[1]:
        raise ValueError(f"labels must lie in 0..{scores.shape[1] - 1}, one per column: map or drop the others")
    return labels.long()


def same_length(**tensors: Tensor) -> None:
    lengths = {name: len(tensor) for name, tensor in tensors.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"lengths differ ({lengths}): pass the same rows to each")


def positive_count(value: int, name: str) -> None:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
