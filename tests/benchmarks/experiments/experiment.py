"""What an experiment is: a grid of cells, each trained and measured with several seeds, and what is told of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.benchmarks.epistemic.figure import Figure
from tests.benchmarks.epistemic.tables import Table
from tests.benchmarks.experiments.results import Results

Measure = Callable[[Any, int], Mapping[str, float]]  # cell, seed → figures by name


class Cell(Protocol):
    """A frozen dataclass; `key` names it in the journal and in tables, and is unlike that of any other cell."""

    @property
    def key(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Findings:
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    words: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Experiment:
    """`tasks` are cells with seeds in the order that they are to be run; `findings` also takes part of them.

    `measure` is a function of a module, so that another process can call it. `about` names data, split and seeds.
    """

    name: str
    title: str
    tasks: Sequence[tuple[Cell, int]]
    measure: Measure
    findings: Callable[[Results], Findings]
    about: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len({(cell.key, seed) for cell, seed in self.tasks}) < len(self.tasks):
            raise ValueError(f"{self.name}: two cells have one key, or a cell comes twice with one seed")
