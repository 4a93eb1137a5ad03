"""Whether a warm-up on noise calibrates: CIFAR-10 subsets by perceptrons of several depths (arXiv 2412.17411, Fig. 1).

Each network is trained with and without the warm-up from the same weights, on the same images in the same order, and
at the greatest depth with label smoothing instead. The settings are those of the paper's figure scripts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from models.training.classifier.plan import NoiseWarmUp, TrainPlan
from tests.benchmarks.experiments.cifar10_sets import subset, unseen_rows
from tests.benchmarks.experiments.measured import measured
from tests.benchmarks.experiments.warmed import Start, noise_figures, trained

WARM_UPS = Path("build/experiments/warm_ups")
DEPTHS, WIDTH = (6, 4, 5, 3, 2), 256
SIZES = (500, 1000, 2000, 4000, 8000, 16000, 32000)
FEW = 4000  # up to here over-confidence is greatest, and training short
PLAIN, WARMED, SMOOTHED = "plain", "warm-up", "label smoothing"
SMOOTHING = 0.1
SEEDS = 10
NOISE = NoiseWarmUp(steps=3750, rate=1e-4, stop=False)
PLAN = TrainPlan(
    epochs=30,
    batch=128,
    optimiser="adam",
    rate=2e-5,
    weight_decay=1e-3,
    schedule="constant",
    warm_up=0.0,
    precision="float32",
)


@dataclass(frozen=True, slots=True)
class Training:
    """One training of a perceptron with `depth` linear layers."""

    depth: int
    images: int
    way: str

    @property
    def key(self) -> str:
        return f"depth {self.depth}, {self.images} images, {self.way}"


def measure(cell: Training, seed: int) -> dict[str, float]:
    """Seconds to minutes; the first one of a depth and seed with a warm-up takes that of the warm-up besides."""
    noise = NOISE if cell.way == WARMED else None
    start = Start("howsure", "perceptron", (("depth", cell.depth), ("width", WIDTH)), noise=noise)
    smoothing = SMOOTHING if cell.way == SMOOTHED else 0.0
    plan = replace(PLAN, label_smoothing=smoothing, seed=seed)
    network, found, record = trained(start, plan, subset(cell.images, seed), unseen_rows(), WARM_UPS)
    return measured(network) | {"training loss": found.curve[-1].loss} | noise_figures(record)


def tasks(depths: Sequence[int], sizes: Sequence[int], seeds: int) -> list[tuple[Training, int]]:
    """Few images and the depths that matter most come first, then many images seed by seed.

    So a part of the runs has all pairs of what the acceptance checks judge, and some pairs of every cell.
    """
    every = [
        (Training(depth, images, way), seed)
        for seed in range(seeds)
        for depth in depths
        for images in sizes
        for way in (PLAIN, WARMED, SMOOTHED)
        if way != SMOOTHED or depth == max(depths)
    ]
    return sorted(every, key=lambda task: _place(*task))


def _place(cell: Training, seed: int) -> tuple[bool, int]:
    many = cell.images > FEW
    return many, seed if many else cell.depth not in DEPTHS[:2]
