"""The sweep of one constant of a score: its table and its figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from models.metrics.ranking import spearman
from tests.benchmarks.epistemic.detection import Draws, auroc_of, middle_95
from tests.benchmarks.epistemic.figure import Figure, Line
from tests.benchmarks.epistemic.sets import Rows
from tests.benchmarks.epistemic.tables import Table

Sweep = Mapping[str, Tensor]  # scores (N,) of all rows by the value of the constant


@dataclass(frozen=True, slots=True)
class Ablation:
    """The sweep of one `constant`; `series` by name, with the same values of it in each. `name` is the file's.

    `default` (N,) is what the order of the scores is held against, and `beside` says what that is.
    """

    name: str
    constant: str
    title: str
    series: Mapping[str, Sweep]
    default: Tensor
    beside: str = "the preset"


@dataclass(frozen=True, slots=True)
class Sets:
    """Scores of all rows come in one vector: those inside first, then set by set."""

    inside: int
    outside: Mapping[str, int]

    @classmethod
    def of(cls, inside: Rows, outside: Sequence[Rows]) -> "Sets":
        return cls(len(inside), {rows.name: len(rows) for rows in outside})

    def cut(self, scores: Tensor) -> tuple[Tensor, list[Tensor]]:
        first, *rest = scores.split([self.inside, *self.outside.values()])
        return first, rest

    def aurocs(self, scores: Tensor) -> list[float]:
        inside, outside = self.cut(scores)
        return [auroc_of(inside, other) for other in outside]

    def interval(self, scores: Tensor) -> tuple[float, float]:
        """Of the mean AUROC over the sets; the same draws of rows whatever the scores."""
        draws = Draws.of(self.inside, list(self.outside.values()))
        return middle_95(draws.aurocs(*self.cut(scores)).mean(dim=0))


def table(ablation: Ablation, sets: Sets) -> Table:
    rows: dict[str, list[float | str | None]] = {}
    for series, sweep in ablation.series.items():
        for value, scores in sweep.items():
            name = value if len(ablation.series) == 1 else f"{value}, {series}"
            aurocs = sets.aurocs(scores)
            low, high = sets.interval(scores)
            figures: list[float | str | None] = [*aurocs, sum(aurocs) / len(aurocs), f"{low:.4f} to {high:.4f}"]
            rows[name] = [*figures, spearman(scores, ablation.default)]
    columns = [*sets.outside, "mean AUROC", "95 % interval", f"Spearman to {ablation.beside}"]
    return Table(f"AUROC by {ablation.title}", ablation.constant, columns, rows)


def figure(ablation: Ablation, sets: Sets) -> Figure:
    lines = [
        Line(
            series,
            [sum(sets.aurocs(scores)) / len(sets.outside) for scores in sweep.values()],
            [sets.interval(scores) for scores in sweep.values()],
        )
        for series, sweep in ablation.series.items()
    ]
    categories = list(next(iter(ablation.series.values())))
    return Figure(f"REGrad by {ablation.title}", ablation.constant, "mean AUROC", categories, lines)


def figure_of_order(ablation: Ablation) -> Figure:
    """Rank correlation with the default instead of AUROC: for forms that are to come close to it."""
    lines = [
        Line(series, [spearman(scores, ablation.default) for scores in sweep.values()])
        for series, sweep in ablation.series.items()
    ]
    categories = list(next(iter(ablation.series.values())))
    return Figure(ablation.title, ablation.constant, "Spearman to exact", categories, lines)
