"""A reliability diagram as SVG: how often the model is right at each confidence, before and after calibration."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.api.diagram import COLOURS, LABELS, Chart


def reliability_svg(evaluation: Mapping[str, Any]) -> str:
    """One diagram of an evaluation's `before`, `active` (where it has one) and `after`.

    A dot's area grows with the rows in its bin.
    """
    judged = [when for when in COLOURS if when in evaluation]
    chart = Chart(
        title=f"{evaluation['rows']} rows of {evaluation['data']}",
        across="confidence",
        up="share right",
        legend=[(COLOURS[when], f"{LABELS[when]}: {_errors(evaluation[when])}") for when in judged],
    )
    ideal = chart.curve([(0, 0), (1, 1)], 'class="ideal"')
    return chart.svg([ideal, *(mark for when in judged for mark in _marks(chart, evaluation[when], COLOURS[when]))])


def _errors(found: Mapping[str, Any]) -> str:
    return f"ECE {found['ece']:.3f} (floor {found['ece_floor']:.3f})"


def _marks(chart: Chart, found: Mapping[str, Any], colour: str) -> list[str]:
    bins: Sequence[Mapping[str, Any]] = found["reliability"]
    points = [(part["confidence"], part["accuracy"]) for part in bins]
    places = zip(bins, map(chart.place, points), strict=True)
    dots = [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{2 + 8 * (part["count"] / found["rows"]) ** 0.5:.1f}"'
        f' fill="{colour}" fill-opacity="0.55"><title>{part["count"]} rows</title></circle>'
        for part, (x, y) in places
    ]
    return [chart.curve(points, f'fill="none" stroke="{colour}" stroke-width="1.5"'), *dots]
