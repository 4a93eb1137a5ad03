"""Correlation matrices side by side as SVG: orange above 0, blue below, the stronger the further from it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from tests.benchmarks.epistemic.figure import COLOURS, STYLE

CELL, LEFT, TOP, GAP = 72, 80, 62, 22
BELOW, ABOVE = COLOURS[:2]


@dataclass(frozen=True, slots=True)
class HeatMap:
    """`values` in [-1, 1] has a row and a column for each of `labels`. Raises ValueError for another shape."""

    title: str
    labels: Sequence[str]
    values: Sequence[Sequence[float]]

    def __post_init__(self) -> None:
        if {len(self.labels)} != {len(self.values), *map(len, self.values)}:
            raise ValueError(f"{self.title}: not a row and a column for each of {self.labels}")

    @property
    def width(self) -> int:
        return LEFT + CELL * len(self.labels) + GAP

    @property
    def height(self) -> int:
        return TOP + CELL * len(self.labels) + GAP

    def marks(self, left: int, top: int) -> Iterator[str]:
        """With its upper left corner at this place."""
        middle = LEFT + CELL * len(self.labels) / 2
        yield _text(left + middle, top + 20, self.title, "middle")
        for place, label in enumerate(self.labels):
            yield _text(left + LEFT + CELL * (place + 0.5), top + TOP - 8, label, "middle")
            yield _text(left + LEFT - 6, top + TOP + CELL * (place + 0.5) + 4, label, "end")
        for down, row in enumerate(self.values):
            for across, value in enumerate(row):
                yield from _cell(left + LEFT + CELL * across, top + TOP + CELL * down, value)


def heat_maps(title: str, maps: Sequence[HeatMap], columns: int = 4) -> str:
    """All are as large as the first."""
    width, height = maps[0].width, maps[0].height
    rows = -(-len(maps) // columns)
    across, down = width * min(columns, len(maps)), height * rows
    marks = [
        mark
        for place, each in enumerate(maps)
        for mark in each.marks(width * (place % columns), height * (place // columns))
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {across} {down}" role="img"'
        f' aria-label="{escape(title)}"><style>{STYLE}</style>'
        f'<rect class="paper" width="{across}" height="{down}"/>{"".join(marks)}</svg>\n'
    )


def _cell(x: float, y: float, value: float) -> Iterator[str]:
    colour = ABOVE if value > 0 else BELOW
    yield (
        f'<rect class="cell" x="{x}" y="{y}" width="{CELL - 2}" height="{CELL - 2}" fill="{colour}"'
        f' fill-opacity="{abs(value):.3f}"/>'
    )
    yield _text(x + CELL / 2 - 1, y + CELL / 2 + 3, f"{value:.2f}", "middle")


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
