"""The risk-coverage diagram draws the stored curves and the best one there could be, on an axis that holds them."""

import xml.etree.ElementTree as ET

import pytest

from app.api.diagram import COLOURS
from app.api.risk_coverage import risk_coverage_svg
from tests.fixtures.diagrams import read_curve
from tests.fixtures.evaluations import made_evaluation

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("active", [False, True])
def test_curves_are_those_of_the_evaluation(active: bool) -> None:
    evaluation = made_evaluation(active=active)
    root = ET.fromstring(risk_coverage_svg(evaluation))
    judged = [when for when in ("before", "active", "after") if when in evaluation]
    highest = max(point["risk"] for when in judged for point in evaluation[when]["risk_coverage"])
    ceiling = 0.5 if highest <= 0.5 else 1.0
    for when in judged:
        drawn = read_curve(root, "stroke", COLOURS[when], 30 + 14 * (len(judged) + 1), ceiling)
        stored = [(point["coverage"], point["risk"]) for point in evaluation[when]["risk_coverage"]]
        assert drawn == [pytest.approx(point, abs=0.001) for point in stored]


def test_the_best_order_makes_no_mistake_until_it_must_and_ends_where_the_model_does() -> None:
    evaluation = made_evaluation()
    accuracy = evaluation["after"]["accuracy"]["value"]
    highest = max(point["risk"] for when in ("before", "after") for point in evaluation[when]["risk_coverage"])
    root = ET.fromstring(risk_coverage_svg(evaluation))
    best = read_curve(root, "class", "ideal", 72, 0.5 if highest <= 0.5 else 1.0)
    assert best[:2] == [pytest.approx((0, 0), abs=0.001), pytest.approx((accuracy, 0), abs=0.001)]
    assert best[-1] == pytest.approx((1, 1 - accuracy), abs=0.001)
    middle = best[len(best) // 2]
    assert middle[1] == pytest.approx(1 - accuracy / middle[0], abs=0.003)


@pytest.mark.parametrize(("risk", "ceiling"), [(0.0, "0.05"), (0.05, "0.05"), (0.06, "0.1"), (0.7, "1")])
def test_the_axis_ends_at_the_next_round_risk(risk: float, ceiling: str) -> None:
    curve = [{"coverage": 1.0, "risk": risk}]
    found = {"risk_coverage": curve, "aurc": risk, "accuracy": {"value": 1 - risk}}
    evaluation = {"data": "d", "rows": 1, "before": found, "after": found}
    ticks = [text.text for text in ET.fromstring(risk_coverage_svg(evaluation)).iter(f"{SVG}text")]
    assert f"{ceiling} " in ticks


def test_a_model_that_is_never_right_can_be_drawn() -> None:
    found = {"risk_coverage": [{"coverage": 1.0, "risk": 1.0}], "aurc": 1.0, "accuracy": {"value": 0.0}}
    svg = risk_coverage_svg({"data": "d", "rows": 1, "before": found, "after": found})
    best = read_curve(ET.fromstring(svg), "class", "ideal", 72, 1.0)
    assert {round(risk, 3) for _, risk in best} == {1.0}
