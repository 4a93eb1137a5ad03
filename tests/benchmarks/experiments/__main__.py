"""`python -m tests.benchmarks.experiments NAME`: runs what is missing of an experiment, then writes its results.

Killed and begun again it goes on after the last finished run. Results are written every ten minutes as well.
"""

import argparse
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.experiments.experiment import Experiment
from tests.benchmarks.experiments.journal import Journal, Run
from tests.benchmarks.experiments.registry import EXPERIMENTS
from tests.benchmarks.experiments.running import run_missing
from tests.benchmarks.experiments.written import write

RESULTS = Path(__file__).parent.parent / "results" / "experiments"
REPORT_SECONDS = 600.0

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Reporter:
    """Logs every run, and writes the results from time to time and at the end."""

    experiment: Experiment
    journal: Journal
    command: str
    out: Path
    _last: float = field(default_factory=time.monotonic)

    def tell(self, run: Run, left: int) -> None:
        log.info("%s, seed %d: %.1f s; %d left", run.key, run.seed, run.seconds, left)
        if time.monotonic() - self._last > REPORT_SECONDS:
            self.write()
            self._last = time.monotonic()

    def write(self) -> None:
        wanted = {(cell.key, seed) for cell, seed in self.experiment.tasks}
        runs = [run for run in self.journal.runs() if (run.key, run.seed) in wanted]
        write(self.experiment, runs, self.command, self.out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=EXPERIMENTS)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results and of NAME.jsonl")
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works; give another --out")
    parser.add_argument("--processes", type=int, choices=(1, 2), default=1, help="runs at a time, a core each")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    experiment = EXPERIMENTS[given.name](given.quick)
    journal = Journal(given.out / f"{given.name}.jsonl")
    command = f"make experiment NAME={given.name}"
    reporter = Reporter(experiment, journal, command, given.out)
    run_missing(experiment, journal, given.processes, reporter.tell)
    reporter.write()
    log.info("written to %s", given.out / f"{given.name}.md")


if __name__ == "__main__":
    main()
