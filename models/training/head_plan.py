"""How a loss-rank head is trained: sizes, loss, optimiser and schedule."""

import math
from dataclasses import dataclass

from models.core.errors import UnknownNameError
from models.training.ranking_loss import LOSSES

REFERENCE_BATCH = 256  # that `rate` is for
FIRST_RATE = 0.1  # of the highest one, at the start of the warm-up


@dataclass(frozen=True, slots=True)
class HeadPlan:
    """Settings as released with arXiv 2402.16569, but for `batch` (2048 there) and what an early stop needs.

    `passes` is how many times all views are read, `margin` and `dead_zone` are those of `ranking_loss`, `patience` is
    how many of the `checks` on held-out rows may bring nothing better before the training stops.
    """

    width: int = 512
    depth: int = 2
    loss: str = "pairs"
    margin: float = 0.1
    dead_zone: float = 0.0
    batch: int = 256
    rate: float = 1e-3
    weight_decay: float = 1e-4
    warm_up: float = 0.05  # share of all steps; 25 of 460 epochs there
    passes: int = 1
    seed: int = 0
    checks: int = 20
    patience: int = 5

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise UnknownNameError("ranking loss", self.loss, LOSSES)
        for name in ("width", "depth", "passes", "checks", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.batch < 2:
            raise ValueError(f"batch must be at least 2, since rows are compared in pairs, got {self.batch}")
        if not (self.rate > 0 and 0 <= self.warm_up < 1):
            raise ValueError(f"rate must be above 0 and warm_up in [0, 1), got {self.rate} and {self.warm_up}")

    @property
    def highest_rate(self) -> float:
        """`rate` times sqrt(batch / 256), as for optimisers of Adam's kind."""
        return self.rate * math.sqrt(self.batch / REFERENCE_BATCH)

    def rate_at(self, step: int, steps: int) -> float:
        """Of step 0 .. steps - 1: from a tenth up in a straight line, then down to 0 along half a cosine wave."""
        warm_steps = round(self.warm_up * steps)
        if step < warm_steps:
            return self.highest_rate * (FIRST_RATE + (1 - FIRST_RATE) * step / warm_steps)
        return self.highest_rate * 0.5 * (1 + math.cos(math.pi * (step - warm_steps) / (steps - warm_steps)))

    def is_check(self, done: int, steps: int) -> bool:
        """Whether a check follows after `done` steps; the last step has one always."""
        return done * self.checks // steps > (done - 1) * self.checks // steps
