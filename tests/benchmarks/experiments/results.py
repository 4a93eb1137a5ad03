"""Runs of an experiment by cell, as means over seeds and as differences between cells with the same seeds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from scipy.stats import wilcoxon

from models.metrics.bootstrap import Interval, bootstrap_interval
from tests.benchmarks.experiments.journal import Run

RESAMPLES = 1000


class Keyed(Protocol):
    @property
    def key(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Difference:
    """Seed by seed, the second cell less the first; `mean` with its 95 % bootstrap interval over the pairs.

    `p` is that of the two-sided Wilcoxon signed-rank test; with n pairs it cannot be below 2 / 2^n.
    """

    mean: Interval
    pairs: int
    lower: int
    p: float

    def __str__(self) -> str:
        return _with_interval(self.mean, "+.4f")


class Results:
    def __init__(self, runs: Iterable[Run]) -> None:
        self._figures: dict[str, dict[int, dict[str, float]]] = {}
        for run in runs:
            self._figures.setdefault(run.key, {})[run.seed] = run.figures

    def values(self, cell: Keyed, measure: str) -> list[float]:
        """By ascending seed; empty where the cell was not run, or has no such figure."""
        return list(self._of(cell, measure).values())

    def mean(self, cell: Keyed, measure: str) -> Interval | None:
        values = self.values(cell, measure)
        return interval(values) if values else None

    def differences(self, first: Keyed, second: Keyed, measure: str) -> list[float]:
        """Second less first, of the seeds that both were run with."""
        ours, theirs = self._of(first, measure), self._of(second, measure)
        return [theirs[seed] - ours[seed] for seed in ours if seed in theirs]

    def difference(self, first: Keyed, second: Keyed, measure: str) -> Difference | None:
        found = self.differences(first, second, measure)
        return compared(found) if found else None

    def _of(self, cell: Keyed, measure: str) -> dict[int, float]:
        runs = self._figures.get(cell.key, {})
        return {seed: runs[seed][measure] for seed in sorted(runs) if measure in runs[seed]}


def interval(values: Sequence[float]) -> Interval:
    """The mean with its 95 % percentile bootstrap interval."""
    return bootstrap_interval(
        lambda rows: float(rows.mean()), torch.tensor(values, dtype=torch.float64), resamples=RESAMPLES
    )


def compared(differences: Sequence[float]) -> Difference:
    """Of paired differences, at least one."""
    p = float(wilcoxon(differences).pvalue) if any(differences) else 1.0
    return Difference(interval(differences), len(differences), sum(value < 0 for value in differences), p)


def shown(found: Interval | None) -> str | None:
    """Mean [low, high]; of a single run there is nothing to have an interval of."""
    return None if found is None else _with_interval(found, ".4f")


def _with_interval(found: Interval, form: str) -> str:
    if found.low == found.high:
        return f"{found.value:{form}}"
    return f"{found.value:{form}} [{found.low:{form}}, {found.high:{form}}]"
