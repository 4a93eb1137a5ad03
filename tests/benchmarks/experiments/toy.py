"""An experiment of no time at all, to try the runner on. Every call of `measure` leaves a line in a file."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.epistemic.tables import Table
from tests.benchmarks.experiments.experiment import Experiment, Findings
from tests.benchmarks.experiments.line_chart import line_chart
from tests.benchmarks.experiments.results import Results, shown

CALLS, FATAL = "TOY_CALLS", "TOY_FATAL"  # environment: a file, and the call in which the process dies
SEEDS = 4


@dataclass(frozen=True, slots=True)
class Toy:
    way: str
    size: int

    @property
    def key(self) -> str:
        return f"{self.way}, size {self.size}"


ROWS = {way: {str(size): Toy(way, size) for size in (1, 2)} for way in ("plain", "better")}
CELLS = [cell for row in ROWS.values() for cell in row.values()]


def measure(cell: Toy, seed: int) -> dict[str, float]:
    call = f"{cell.key}, seed {seed}"
    if path := os.environ.get(CALLS):
        with Path(path).open("a") as file:
            file.write(call + "\n")
    if call == os.environ.get(FATAL):
        os.kill(os.getpid(), signal.SIGKILL)
    return {"error": cell.size + seed / 10 - (0.5 if cell.way == "better" else 0.0)}


def findings(results: Results) -> Findings:
    rows = {cell.key: [shown(results.mean(cell, "error"))] for cell in CELLS}
    chart = line_chart(results, "Error by size", "size", ("error", "error"), ROWS)
    return Findings([Table("Errors", "cell", ["error"], rows)], [chart] if chart else [], ["Better is better."])


def experiment() -> Experiment:
    tasks = [(cell, seed) for seed in range(SEEDS) for cell in CELLS]
    return Experiment("toy", "A toy", tasks, measure, findings, {"data": "none"})
