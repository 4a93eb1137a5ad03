"""A figure with a line for each row of cells: means over seeds and their intervals."""

from collections.abc import Mapping

from tests.benchmarks.epistemic.figure import Figure, Line
from tests.benchmarks.experiments.results import Keyed, Results


def line_chart(
    results: Results,
    title: str,
    across: str,
    measure: tuple[str, str],
    rows: Mapping[str, Mapping[str, Keyed]],
) -> Figure | None:
    """`rows`: line → category → cell; `measure` is a name and what is written beside the axis.

    Categories that a line has no run of are left out; None where nothing is left.
    """
    name, up = measure
    found = {line: {at: results.mean(cell, name) for at, cell in cells.items()} for line, cells in rows.items()}
    first, *_ = found.values()
    categories = [at for at in first if all(means.get(at) is not None for means in found.values())]
    if not categories:
        return None
    lines = []
    for line, means in found.items():
        there = [mean for at in categories if (mean := means[at]) is not None]
        lines.append(Line(line, [mean.value for mean in there], [(mean.low, mean.high) for mean in there]))
    return Figure(title, across, up, categories, lines)
