"""A reliability diagram as SVG: how often the model is right at each confidence, before and after calibration."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

SIDE, MARGIN, TOP = 232, 44, 56
WIDTH, HEIGHT = SIDE + 2 * MARGIN, SIDE + MARGIN + TOP
COLOURS = {"before": "#b45309", "after": "#0f766e"}
STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#374151}.grid{stroke:#e5e7eb}.ideal{stroke:#9ca3af;stroke-dasharray:4}"
)


def reliability_svg(evaluation: Mapping[str, Any]) -> str:
    """One diagram of an evaluation's `before` and `after`; a dot's area grows with the rows in its bin."""
    title = escape(f"{evaluation['data']}, {evaluation['rows']} rows")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">',
        f'<style>{STYLE}</style><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        *_axes(),
        *(mark for when in COLOURS for mark in _curve(evaluation[when], COLOURS[when])),
        f'<text x="{MARGIN}" y="16">{title}</text>',
        *_legend(evaluation),
        "</svg>",
    ]
    return "".join(parts)


def _axes() -> list[str]:
    marks = []
    for tenth in range(0, 11, 2):
        share = tenth / 10
        marks.append(_line((share, 0), (share, 1), "grid") + _line((0, share), (1, share), "grid"))
        marks.append(_text(share, 0, 14, "middle", f"{share:g}") + _text(0, share, 4, "end", f"{share:g} "))
    label = f'<text x="{MARGIN + SIDE / 2}" y="{HEIGHT - 10}" text-anchor="middle">confidence</text>'
    turned = f'<text transform="translate(14 {TOP + SIDE / 2}) rotate(-90)" text-anchor="middle">share right</text>'
    return [*marks, _line((0, 0), (1, 1), "ideal"), label, turned]


def _curve(evaluation: Mapping[str, Any], colour: str) -> list[str]:
    bins: Sequence[Mapping[str, Any]] = evaluation["reliability"]
    points = [(part["confidence"], part["accuracy"]) for part in bins]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (_place(*point) for point in points))
    dots = [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{2 + 8 * (part["count"] / evaluation["rows"]) ** 0.5:.1f}"'
        f' fill="{colour}" fill-opacity="0.55"><title>{part["count"]} rows</title></circle>'
        for part, (x, y) in ((part, _place(part["confidence"], part["accuracy"])) for part in bins)
    ]
    return [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>', *dots]


def _legend(evaluation: Mapping[str, Any]) -> list[str]:
    lines = []
    for position, (when, colour) in enumerate(COLOURS.items()):
        found = evaluation[when]
        text = f"{when}: ECE {found['ece']:.3f} (floor {found['ece_floor']:.3f})"
        x, y = MARGIN + 4, 31 + 14 * position
        lines.append(f'<circle cx="{x}" cy="{y - 4}" r="4" fill="{colour}"/><text x="{x + 9}" y="{y}">{text}</text>')
    return lines


def _place(confidence: float, accuracy: float) -> tuple[float, float]:
    return MARGIN + SIDE * confidence, TOP + SIDE * (1 - accuracy)


def _line(start: tuple[float, float], end: tuple[float, float], style: str) -> str:
    (x1, y1), (x2, y2) = _place(*start), _place(*end)
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def _text(confidence: float, accuracy: float, drop: int, anchor: str, text: str) -> str:
    x, y = _place(confidence, accuracy)
    return f'<text x="{x:.1f}" y="{y + drop:.1f}" text-anchor="{anchor}">{text}</text>'
