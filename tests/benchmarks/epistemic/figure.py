"""A line chart as SVG with categories along the foot, intervals as bars, colours that follow light or dark."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 420, 240
LEFT, TOP, FOOT, RIGHT = 56, 34, 44, 150
COLOURS = ("#3b82f6", "#d97706", "#059669", "#db2777", "#7c3aed")
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#374151}.paper{fill:#fff}.grid{stroke:#e5e7eb}"
    "@media(prefers-color-scheme:dark){text{fill:#d1d5db}.paper{fill:#111827}.grid{stroke:#374151}}"
)


@dataclass(frozen=True, slots=True)
class Line:
    """One value a category; `intervals` (low, high) where there are any."""

    name: str
    values: Sequence[float]
    intervals: Sequence[tuple[float, float]] = ()

    def extremes(self) -> Iterator[float]:
        yield from self.values
        for low, high in self.intervals:
            yield from (low, high)


@dataclass(frozen=True, slots=True)
class Figure:
    """Categories are evenly spaced. Raises ValueError for a line that has not one value for each of them."""

    title: str
    across: str
    up: str
    categories: Sequence[str]
    lines: Sequence[Line]

    def __post_init__(self) -> None:
        for line in self.lines:
            if len(line.values) != len(self.categories) or len(line.intervals) not in (0, len(line.values)):
                raise ValueError(f"{self.title}: {line.name} does not have a value for each of {self.categories}")

    def svg(self) -> str:
        width, height = LEFT + WIDTH + RIGHT, TOP + HEIGHT + FOOT
        marks = [mark for number, line in enumerate(self.lines) for mark in self._line(number, line)]
        return "".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"'
                f' aria-label="{escape(self.title)}"><style>{STYLE}</style>',
                f'<rect class="paper" width="{width}" height="{height}"/>',
                _text(LEFT, 18, self.title, "start"),
                *self._axes(),
                *marks,
                "</svg>\n",
            ]
        )

    def _axes(self) -> Iterator[str]:
        for value in self.ticks():
            y = self._y(value)
            yield f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{LEFT + WIDTH}" y2="{y:.1f}"/>'
            yield _text(LEFT - 6, y + 4, f"{value:g}", "end")
        for place, category in enumerate(self.categories):
            yield _text(self._x(place), TOP + HEIGHT + 16, category, "middle")
        yield _text(LEFT + WIDTH / 2, TOP + HEIGHT + 36, self.across, "middle")
        turn = f"translate(14 {TOP + HEIGHT / 2}) rotate(-90)"
        yield f'<text transform="{turn}" text-anchor="middle">{escape(self.up)}</text>'

    def _line(self, number: int, line: Line) -> Iterator[str]:
        colour, aside = COLOURS[number % len(COLOURS)], 3 * (number - (len(self.lines) - 1) / 2)
        points = [(self._x(place) + aside, self._y(value)) for place, value in enumerate(line.values)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        for (x, _), (low, high) in zip(points, line.intervals, strict=False):
            yield f'<path d="M{x:.1f} {self._y(low):.1f}V{self._y(high):.1f}" stroke="{colour}" opacity=".6"/>'
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points)
        foot = TOP + 12 + 18 * number
        yield f'<circle cx="{LEFT + WIDTH + 14}" cy="{foot - 4}" r="4" fill="{colour}"/>'
        yield _text(LEFT + WIDTH + 24, foot, line.name, "start")

    def ticks(self) -> list[float]:
        """Round numbers that hold every value and interval, about five of them."""
        values = [value for line in self.lines for value in line.extremes()]
        low, high = min(values), max(values)
        step = _round_step((high - low) / 4 or abs(high) / 4 or 1)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        return [round(place * step, 10) for place in range(first, max(last, first + 1) + 1)]

    def _x(self, place: int) -> float:
        return LEFT + WIDTH * (place + 0.5) / len(self.categories)

    def _y(self, value: float) -> float:
        ticks = self.ticks()
        return TOP + HEIGHT * (1 - (value - ticks[0]) / (ticks[-1] - ticks[0]))


def _round_step(step: float) -> float:
    """The next of 1, 2, 2.5 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * (1 - 1e-9))


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
