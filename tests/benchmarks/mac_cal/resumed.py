"""Runs what is missing of an experiment and writes its results: what the commands of this folder have in common."""

from tests.benchmarks.experiments.experiment import Experiment
from tests.benchmarks.experiments.journal import Journal, Run
from tests.benchmarks.experiments.running import run_missing
from tests.benchmarks.experiments.written import write
from tests.benchmarks.mac_cal import RESULTS


def run(experiment: Experiment, command: str) -> None:
    """Ended and begun again it goes on after the last run in `NAME.jsonl`."""
    journal = Journal(RESULTS / f"{experiment.name}.jsonl")
    run_missing(experiment, journal, 1, tell)
    write(experiment, journal.runs(), command, RESULTS)


def tell(run: Run, left: int) -> None:
    print(f"{run.key}, seed {run.seed}: {run.seconds} s, {left} left", flush=True)
