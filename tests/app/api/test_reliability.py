"""The reliability diagram puts every bin where its confidence and accuracy say, and survives hostile names."""

import xml.etree.ElementTree as ET

import pytest

from app.api.diagram import COLOURS, MARGIN, SIDE
from app.api.reliability import reliability_svg
from tests.fixtures.evaluations import made_evaluation

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("active", [False, True])
def test_a_dot_for_every_bin_where_confidence_and_accuracy_put_it(active: bool) -> None:
    evaluation = made_evaluation(active=active)
    root = ET.fromstring(reliability_svg(evaluation))
    dots = [circle for circle in root.iter(f"{SVG}circle") if circle.find(f"{SVG}title") is not None]
    judged = [when for when in ("before", "active", "after") if when in evaluation]
    bins = [(COLOURS[when], part) for when in judged for part in evaluation[when]["reliability"]]
    top = 30 + 14 * len(judged)
    assert len(dots) == len(bins)
    for dot, (colour, part) in zip(dots, bins, strict=True):
        assert float(dot.attrib["cx"]) == pytest.approx(MARGIN + SIDE * part["confidence"], abs=0.06)
        assert float(dot.attrib["cy"]) == pytest.approx(top + SIDE * (1 - part["accuracy"]), abs=0.06)
        assert dot.attrib["fill"] == colour
        assert dot.findtext(f"{SVG}title") == f"{part['count']} rows"


def test_the_legend_names_each_error_with_its_floor() -> None:
    evaluation = made_evaluation(active=True)
    texts = [text.text for text in ET.fromstring(reliability_svg(evaluation)).iter(f"{SVG}text")]
    for when, label in (("before", "before"), ("active", "serving then"), ("after", "after")):
        found = evaluation[when]
        assert f"{label}: ECE {found['ece']:.3f} (floor {found['ece_floor']:.3f})" in texts


def test_names_are_escaped() -> None:
    root = ET.fromstring(reliability_svg(made_evaluation()))
    assert root.attrib["aria-label"] == "400 rows of made <i>rows</i>"
    assert root.find(f".//{SVG}i") is None
