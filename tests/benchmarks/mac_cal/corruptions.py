"""Ways fitted on clean images, judged on corrupted ones: `python -m tests.benchmarks.mac_cal.corruptions`.

The shipped CIFAR-10 network; ten minutes on one core. Ended and begun again it goes on.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from statistics import mean

import numpy as np

from models.training.classifier.rows import PixelRows
from tests.benchmarks.epistemic.tables import Table
from tests.benchmarks.experiments.cifar10_sets import test_rows
from tests.benchmarks.experiments.experiment import Experiment, Findings
from tests.benchmarks.experiments.line_chart import line_chart
from tests.benchmarks.experiments.results import Results, shown
from tests.benchmarks.mac_cal.ablated import NAME
from tests.benchmarks.mac_cal.corrupted import CORRUPTIONS, SEVERITIES
from tests.benchmarks.mac_cal.cross_fit import measured
from tests.benchmarks.mac_cal.observed import Labelled, outputs_of, served_network
from tests.benchmarks.mac_cal.resumed import run
from tests.benchmarks.mac_cal.settings import DEFAULT
from tests.benchmarks.mac_cal.shipped_network import FITTED_ON, fitted_on, network, shipped_network
from tests.benchmarks.mac_cal.ways import ABOUT, FRESH, NONE, TEMPERATURE, VECTOR, WAYS, Fitted

IMAGES = 1000
CLEAN = 0
SEEDS = 3
MEASURES = {"ece": "ECE, 15 bins", "accuracy": "accuracy", "nll": "NLL"}
DRAWN = (NONE, TEMPERATURE, VECTOR, "feature_clipping", FRESH)


@dataclass(frozen=True, slots=True)
class Cell:
    way: str
    severity: int

    @property
    def key(self) -> str:
        return f"{self.way}, severity {self.severity}"


def measure(cell: Cell, seed: int) -> dict[str, float]:
    """Means over the corruptions of each measure, and the ECE of each."""
    fitted, judged = fit(cell.way, seed), corrupted(cell.severity)
    found = {name: measured(fitted.logits(rows.outputs), rows.labels) for name, rows in judged.items()}
    means = {key: mean(each[key] for each in found.values()) for key in MEASURES}
    return means | {f"ECE, {name}": each["ece"] for name, each in found.items()}


@lru_cache(maxsize=1)
def fit(way: str, seed: int) -> Fitted:
    return WAYS[way](fitted_on(shipped_network(), seed), seed)


@cache
def corrupted(severity: int) -> Mapping[str, Labelled]:
    """By corruption; of the clean images for severity 0."""
    return {name: outputs_of(served_network(network()), rows) for name, rows in _rows(severity)}


def _rows(severity: int) -> Iterator[tuple[str, PixelRows]]:
    rows = test_rows()
    pixels, labels = np.ascontiguousarray(rows.pixels[:IMAGES]), rows.labels[:IMAGES]
    if severity == CLEAN:
        yield "clean", PixelRows(pixels, labels, rows.spec)
        return
    for number, (name, corruption) in enumerate(CORRUPTIONS.items()):
        yield name, PixelRows(corruption(pixels, severity, number), labels, rows.spec)


def experiment() -> Experiment:
    severities = (CLEAN, *SEVERITIES)
    tasks = [(Cell(way, severity), seed) for way in WAYS for seed in range(SEEDS) for severity in severities]
    about = ABOUT | {
        "network": f"{NAME} as shipped, bfloat16",
        "fitted on": f"clean images alone, as in cifar10_resnet.md: {FITTED_ON} fresh ones drawn by the seed",
        "judged on": f"the first {IMAGES} of cifar10_test_shared.npz in the order of the experiments, corrupted; 0 is "
        "clean",
        "corruptions": f"{', '.join(CORRUPTIONS)}: with the strengths of CIFAR-10-C (arXiv 1903.12261), made with "
        "scikit-image, SciPy and Pillow; not its files",
        "MaC-Cal": repr(DEFAULT),
        "seeds": f"0..{SEEDS - 1}: fresh rows and masks; corruptions have one seed each",
    }
    title = "Calibration on corrupted images, fitted on clean ones"
    return Experiment("corruptions", title, tasks, measure, findings, about)


def findings(results: Results) -> Findings:
    tables = [*(_by_severity(results, key) for key in MEASURES), _by_corruption(results), _strengths()]
    rows = {way: {str(severity): Cell(way, severity) for severity in (CLEAN, *SEVERITIES)} for way in DRAWN}
    charts = [
        line_chart(results, f"{MEASURES[key]}, mean over corruptions", "severity", (key, MEASURES[key]), rows)
        for key in ("ece", "nll")
    ]
    return Findings(tables, [chart for chart in charts if chart is not None], [_told(results)])


def _by_severity(results: Results, key: str) -> Table:
    rows = {way: [shown(results.mean(Cell(way, each), key)) for each in (CLEAN, *SEVERITIES)] for way in WAYS}
    columns = ["clean", *map(str, SEVERITIES)]
    return Table(f"{MEASURES[key]} by severity: mean over corruptions [95 % interval over seeds]", "way", columns, rows)


def _by_corruption(results: Results) -> Table:
    rows = {name: [_over_severities(results, way, f"ECE, {name}") for way in WAYS] for name in CORRUPTIONS}
    return Table("ECE, 15 bins, by corruption: mean over severities and seeds", "corruption", list(WAYS), rows)


def _over_severities(results: Results, way: str, key: str) -> float | None:
    means = [results.mean(Cell(way, severity), key) for severity in SEVERITIES]
    there = [each.value for each in means if each is not None]
    return mean(there) if len(there) == len(SEVERITIES) else None


def _strengths() -> Table:
    rows = {
        name: [", ".join(f"{number:g}" for number in strength) for strength in corruption.strengths]
        for name, corruption in CORRUPTIONS.items()
    }
    return Table("Strengths", "corruption", list(map(str, SEVERITIES)), rows)


def _told(results: Results) -> str:
    """Mean over severities and corruptions, the best way first."""
    means = {way: found for way in WAYS if (found := _over_severities(results, way, "ece")) is not None}
    ranked = sorted(means, key=means.__getitem__)
    return f"ECE, mean over severities: {', '.join(f'{way} {means[way]:.4f}' for way in ranked)}."


def main() -> None:
    run(experiment(), "python -m tests.benchmarks.mac_cal.corruptions")


if __name__ == "__main__":
    main()
