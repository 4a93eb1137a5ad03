"""All ways with small CIFAR-10 networks that were trained in four ways, as an experiment."""

from collections.abc import Mapping
from dataclasses import dataclass

from tests.benchmarks.experiments.cifar10_sets import UNSEEN
from tests.benchmarks.experiments.experiment import Experiment, Findings
from tests.benchmarks.experiments.results import Results
from tests.benchmarks.mac_cal import comparison
from tests.benchmarks.mac_cal.settings import DEFAULT
from tests.benchmarks.mac_cal.small_networks import FRESH_IMAGES, PLAN, TRAINED_IMAGES, TRAININGS, WIDTHS, small_network
from tests.benchmarks.mac_cal.ways import ABOUT, WAYS, figures

SEEDS = 3


@dataclass(frozen=True, slots=True)
class Cell:
    training: str
    way: str

    @property
    def key(self) -> str:
        return f"{self.training}: {self.way}"


CELLS = {training: {way: Cell(training, way) for way in WAYS} for training in TRAININGS}


def measure(cell: Cell, seed: int) -> dict[str, float]:
    """The first one of a network takes its training besides, some minutes."""
    given = small_network(cell.training, seed)
    return figures(given, WAYS[cell.way](given, seed))


def experiment() -> Experiment:
    tasks = [(cell, seed) for seed in range(SEEDS) for ways in CELLS.values() for cell in ways.values()]
    about: Mapping[str, str] = ABOUT | {
        "network": f"howsure resnet9, widths {WIDTHS}, trained and served in {PLAN.precision}",
        "trainings": f"{PLAN.epochs} epochs of {TRAINED_IMAGES} images of cifar10_train.npz, SGD {PLAN.rate:g}, "
        f"momentum {PLAN.momentum:g}, weight decay {PLAN.weight_decay:g}, cosine, flips and shifts; label "
        "smoothing 0.05, focal loss FLSD-53, mixup with alpha 1",
        "rows": f"{FRESH_IMAGES} fresh ones; {UNSEEN} others tell how the training goes and nothing else; measured on "
        "cifar10_test_shared.npz, 5,000 images",
        "MaC-Cal": repr(DEFAULT),
        "seeds": f"0..{SEEDS - 1}: images, weights, their order and the masks; intervals are over these seeds alone",
    }
    return Experiment("small_networks", "MaC-Cal on small CIFAR-10 networks", tasks, measure, findings, about)


def findings(results: Results) -> Findings:
    tables = [
        comparison.acceptance(results, CELLS),
        *(comparison.measures(results, f"Trained with {training}", CELLS[training]) for training in CELLS),
    ]
    words = [comparison.winners(results, training, CELLS[training]) for training in CELLS]
    return Findings([table for table in tables if table.rows], list(comparison.charts(results, CELLS)), words)
