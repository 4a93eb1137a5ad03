"""Which augmented views of each image are made: part of a cache's key."""

from dataclasses import asdict, dataclass
from typing import Any

SEEDS = 2**64


@dataclass(frozen=True, slots=True)
class ViewPlan:
    """Random resized crop, horizontal flip and colour jitter, as arXiv 2402.16569 trains its uncertainty head.

    `count` views of each image. A crop covers a share of the picture's area in `scale`, `flip` is a probability, and
    `jitter` the largest relative change of brightness, contrast and saturation. Pictures are decoded as the server
    decodes them, which may be at a reduced size: a small crop of a large photograph is blurred as well.
    """

    count: int
    seed: int
    scale: tuple[float, float] = (0.08, 1.0)
    flip: float = 0.5
    jitter: float = 0.4

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"views: count must be at least 1, got {self.count}")
        if not 0 <= self.seed < SEEDS:
            raise ValueError(f"views: seed must lie in 0..2^64 - 1, got {self.seed}")
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"views: scale must be two rising shares in (0, 1], got {self.scale}")
        if not (0 <= self.flip <= 1 and 0 <= self.jitter <= 1):
            raise ValueError(f"views: flip and jitter must lie in [0, 1], got {self.flip} and {self.jitter}")

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "scale": list(self.scale)}
