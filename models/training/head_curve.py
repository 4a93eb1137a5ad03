"""What was seen of a head at each check of its training, and what follows: which is the best, and when to stop."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from models.metrics.ranking import spearman

ROUNDING = 1e-5  # of float32 sums over some thousand units, as a share of the value


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """After `step` steps: the mean training loss since the check before, and Spearman's correlation of u and loss.

    `spearman` is of the held-out rows; None of a head that gives all of them the same.
    """

    step: int
    loss: float
    spearman: float | None


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Rows that are not trained on: features (M, D) float32, task losses (M,), not all equal."""

    features: Tensor
    losses: Tensor

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or self.losses.shape != self.features.shape[:1]:
            shapes = f"{tuple(self.features.shape)} and {tuple(self.losses.shape)}"
            raise ValueError(f"held-out rows are features (M, D) and losses (M,), got {shapes}")
        if len(self.losses) < 2 or bool((self.losses == self.losses[0]).all()):
            raise ValueError("held-out losses are all the same: hold out more rows, with harder ones among them")

    def judge(self, values: Tensor) -> float | None:
        """Spearman's correlation of u `values` (M,) with the losses, None for a constant.

        Raises ValueError where a value is not finite.
        """
        if not bool(values.isfinite().all()):
            raise ValueError("the head has diverged, its values are not finite: train with a lower rate")
        return None if is_collapsed(values) else spearman(values, self.losses)


def is_collapsed(values: Tensor) -> bool:
    """Whether u `values` (M,) are all the same, to rounding: equal rows of a batch may differ in their last digits."""
    return bool(values.max() - values.min() <= ROUNDING * values.max())


def best_point(curve: Sequence[CurvePoint]) -> CurvePoint | None:
    """The first of the highest correlation; None where the head was constant at every check."""
    told = [point for point in curve if point.spearman is not None]
    return max(told, key=lambda point: point.spearman or 0.0, default=None)


def is_exhausted(curve: Sequence[CurvePoint], patience: int) -> bool:
    """Whether the last `patience` checks have brought nothing better."""
    best = best_point(curve)
    waited = len(curve) if best is None else len(curve) - 1 - curve.index(best)
    return waited >= patience
