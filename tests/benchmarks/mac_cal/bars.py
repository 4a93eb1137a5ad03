"""A figure with a bar for each way in each category: means over seeds and their intervals."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from models.metrics.bootstrap import Interval
from tests.benchmarks.epistemic.figure import LEFT, TOP, WIDTH, Figure, Line
from tests.benchmarks.experiments.results import Keyed, Results

COLOURS = ("#9ca3af", "#3b82f6", "#06b6d4", "#7c3aed", "#d97706", "#db2777", "#059669")
FILLED = 0.8  # of a category's width


class _Bar(Line):
    """A bar begins at 0."""

    def extremes(self) -> Iterator[float]:
        yield 0.0
        yield from Line.extremes(self)


@dataclass(frozen=True, slots=True)
class Bars(Figure):
    """At most so many lines as there are `COLOURS`."""

    def _line(self, number: int, line: Line) -> Iterator[str]:
        colour = COLOURS[number]
        room = FILLED * WIDTH / len(self.categories)
        wide = room / len(self.lines)
        for place, value in enumerate(line.values):
            x, y = self._x(place) - room / 2 + number * wide, self._y(value)
            size = f'width="{wide - 1:.1f}" height="{self._y(0) - y:.1f}"'
            yield f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{colour}"/>'
            low, high = line.intervals[place]
            middle = x + (wide - 1) / 2
            yield f'<path class="interval" d="M{middle:.1f} {self._y(low):.1f}V{self._y(high):.1f}" stroke="#6b7280"/>'
        foot = TOP + 12 + 18 * number
        yield f'<circle cx="{LEFT + WIDTH + 14}" cy="{foot - 4}" r="4" fill="{colour}"/>'
        yield f'<text x="{LEFT + WIDTH + 24}" y="{foot}">{escape(line.name)}</text>'


def bar_chart(
    results: Results, title: str, up: str, bars: Mapping[str, Mapping[str, tuple[Keyed, str]]]
) -> Figure | None:
    """`bars`: way → category → cell and measure. Categories that a way has no run of are left out; None without any."""
    found = {way: {name: results.mean(*of) for name, of in row.items()} for way, row in bars.items()}
    first, *_ = found.values()
    categories = [name for name in first if all(row[name] is not None for row in found.values())]
    lines: Sequence[Line] = [_bar(way, [row[name] for name in categories]) for way, row in found.items()]
    return Bars(title, "", up, categories, lines) if categories else None


def _bar(way: str, means: Sequence[Interval | None]) -> Line:
    there = [mean for mean in means if mean is not None]
    return _Bar(way, [mean.value for mean in there], [(mean.low, mean.high) for mean in there])
