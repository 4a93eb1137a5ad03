"""A square chart as SVG: axes from 0, curves, and a legend above. It needs no script, no network and no style sheet."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

SIDE, MARGIN, FOOT = 232, 46, 38
LONGEST_TITLE = 42  # characters that fit above the picture
COLOURS = {"before": "#b45309", "active": "#6d28d9", "after": "#0f766e"}
LABELS = {"before": "before", "active": "serving then", "after": "after"}
STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#374151}.grid{stroke:#e5e7eb}"
    ".ideal{stroke:#9ca3af;stroke-dasharray:4;fill:none}"
)

Point = tuple[float, float]


@dataclass(frozen=True)
class Chart:
    """`across` runs from 0 to `reach`, `up` from 0 to `ceiling`; `legend` has a colour and a text a line."""

    title: str
    across: str
    up: str
    legend: Sequence[tuple[str, str]]
    ceiling: float = 1.0
    reach: float = 1.0

    @property
    def top(self) -> int:
        """Vertical place of the upper end of the axes."""
        return 30 + 14 * len(self.legend)

    def place(self, point: Point) -> Point:
        """Where a point in the units of the axes lies on the picture."""
        return MARGIN + SIDE * point[0] / self.reach, self.top + SIDE * (1 - point[1] / self.ceiling)

    def curve(self, points: Iterable[Point], attributes: str) -> str:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(self.place, points))
        return f'<polyline points="{path}" {attributes}/>'

    def svg(self, marks: Iterable[str]) -> str:
        """The whole picture; `marks` are drawn over the grid."""
        width, height = SIDE + MARGIN + 16, SIDE + self.top + FOOT
        title = escape(self.title)
        shown = escape(self.title if len(self.title) <= LONGEST_TITLE else f"{self.title[: LONGEST_TITLE - 1]}…")
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{title}">',
            f'<style>{STYLE}</style><rect width="{width}" height="{height}" fill="#fff"/>',
            f'<text x="{MARGIN}" y="16">{shown}</text>',
            *self._legend(),
            *self._axes(),
            *marks,
            "</svg>",
        ]
        return "".join(parts)

    def _legend(self) -> list[str]:
        return [
            f'<circle cx="{MARGIN + 4}" cy="{27 + 14 * line}" r="4" fill="{colour}"/>'
            f'<text x="{MARGIN + 13}" y="{31 + 14 * line}">{escape(text)}</text>'
            for line, (colour, text) in enumerate(self.legend)
        ]

    def _axes(self) -> list[str]:
        marks = []
        for share in (0, 0.2, 0.4, 0.6, 0.8, 1):
            across, up = share * self.reach, share * self.ceiling
            marks.append(self.curve([(across, 0), (across, self.ceiling)], 'class="grid"'))
            marks.append(self.curve([(0, up), (self.reach, up)], 'class="grid"'))
            marks.append(self._tick((across, 0), 14, "middle", f"{across:g}"))
            marks.append(self._tick((0, up), 4, "end", f"{up:.2g} "))
        middle = self.top + SIDE / 2
        across_label = (
            f'<text x="{MARGIN + SIDE / 2}" y="{self.top + SIDE + 30}" text-anchor="middle">{self.across}</text>'
        )
        up_label = f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{self.up}</text>'
        return [*marks, across_label, up_label]

    def _tick(self, point: Point, drop: int, anchor: str, text: str) -> str:
        x, y = self.place(point)
        return f'<text x="{x:.1f}" y="{y + drop:.1f}" text-anchor="{anchor}">{text}</text>'
