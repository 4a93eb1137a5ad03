"""A risk-coverage diagram as SVG: the share of wrong answers among the rows a model is surest of."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.api.diagram import COLOURS, LABELS, Chart, Point

CEILINGS = (0.05, 0.1, 0.2, 0.5, 1.0)
BEST_COLOUR = "#9ca3af"


def risk_coverage_svg(evaluation: Mapping[str, Any]) -> str:
    """One diagram of an evaluation's `before`, `active` (where it has one) and `after`, and of the best order.

    The best order keeps every right answer before the first wrong one, at the accuracy of `after`.
    """
    judged = [when for when in COLOURS if when in evaluation]
    curves = {when: _points(evaluation[when]["risk_coverage"]) for when in judged}
    highest = max(risk for points in curves.values() for _, risk in points)
    chart = Chart(
        title=f"{evaluation['rows']} rows of {evaluation['data']}",
        across="coverage: share of rows answered",
        up="risk: share of those wrong",
        legend=[
            *((COLOURS[when], f"{LABELS[when]}: AURC {evaluation[when]['aurc']:.3f}") for when in judged),
            (BEST_COLOUR, "best possible order"),
        ],
        ceiling=next(ceiling for ceiling in CEILINGS if ceiling >= highest),
    )
    best = chart.curve(_best_order(evaluation["after"]["accuracy"]["value"]), 'class="ideal"')
    lines = (chart.curve(points, f'fill="none" stroke="{COLOURS[when]}"') for when, points in curves.items())
    return chart.svg([best, *lines])


def _points(curve: Sequence[Mapping[str, float]]) -> list[Point]:
    return [(point["coverage"], point["risk"]) for point in curve]


def _best_order(accuracy: float) -> list[Point]:
    steps = [accuracy + (1 - accuracy) * step / 20 for step in range(21)]
    return [(0, 0 if accuracy else 1), *((kept, 1 - accuracy / kept) for kept in steps if kept > 0)]
