"""Runs what is missing of an experiment, one run after the other or in a few processes."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context

from models.core.device import use_cores
from tests.benchmarks.experiments.experiment import Cell, Experiment, Measure
from tests.benchmarks.experiments.journal import Journal, Run

Task = tuple[Cell, int]


def run_missing(experiment: Experiment, journal: Journal, processes: int, told: Callable[[Run, int], None]) -> None:
    """`told` gets every run, once it is in the journal, and how many are left."""
    done = {(run.key, run.seed) for run in journal.runs()}
    missing = [(cell, seed) for cell, seed in experiment.tasks if (cell.key, seed) not in done]
    runs = _one_by_one(experiment.measure, missing) if processes == 1 else _beside(experiment, missing, processes)
    for number, run in enumerate(runs, start=1):
        journal.add(run)
        told(run, len(missing) - number)


def _one_by_one(measure: Measure, tasks: Sequence[Task]) -> Iterator[Run]:
    return (timed(measure, cell, seed) for cell, seed in tasks)


def _beside(experiment: Experiment, tasks: Sequence[Task], processes: int) -> Iterator[Run]:
    """In the order that they end."""
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        futures: list[Future[Run]] = [pool.submit(timed, experiment.measure, cell, seed) for cell, seed in tasks]
        try:
            yield from (future.result() for future in as_completed(futures))
        finally:
            pool.shutdown(cancel_futures=True)


def timed(measure: Measure, cell: Cell, seed: int) -> Run:
    """On one core, so that sums have one order whatever the machine does besides."""
    use_cores(1)
    began = time.perf_counter()
    figures = dict(measure(cell, seed))
    return Run(cell.key, seed, figures, round(time.perf_counter() - began, 2))
