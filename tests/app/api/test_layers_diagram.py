"""The picture of the layers puts every figure at its layer, the band where the phase is, and the line at the step."""

import xml.etree.ElementTree as ET

import pytest

from app.api.diagram import MARGIN, SIDE
from app.api.layers_diagram import LINES, PHASE, layers_svg
from tests.fixtures.layer_studies import made_study, study_without_phase

SVG = "{http://www.w3.org/2000/svg}"
TOP = 30 + 14 * 5  # the legend has five lines
REACH = 5


def across(layer):
    return pytest.approx(MARGIN + SIDE * layer / REACH, abs=0.06)


@pytest.fixture
def root():
    return ET.fromstring(layers_svg(made_study()))


def texts(root):
    return [text.text for text in root.iter(f"{SVG}text")]


@pytest.mark.parametrize(("name", "label", "colour"), LINES)
def test_each_line_has_the_figure_of_every_layer_that_was_not_fitted(root, name, label, colour):
    (line,) = (line for line in root.iter(f"{SVG}polyline") if line.get("stroke") == colour)
    points = [tuple(map(float, point.split(","))) for point in line.get("points").split()]
    expected = made_study()["curves"]["report"]
    assert len(points) == 4
    for (x, y), each in zip(points, expected, strict=True):
        assert x == across(each["layer"])
        assert y == pytest.approx(TOP + SIDE * (1 - each[name]), abs=0.06)
    assert f"{label}: {expected[-1][name]:.3f} after the last" in texts(root)


def test_the_phase_is_a_band_and_the_step_a_line(root):
    (band,) = (rect for rect in root.iter(f"{SVG}rect") if rect.get("fill") == PHASE)
    assert float(band.get("x")) == across(3.5)
    assert float(band.get("x")) + float(band.get("width")) == across(4.5)
    (line,) = (line for line in root.iter(f"{SVG}polyline") if line.get("class") == "ideal")
    assert [float(point.split(",")[0]) for point in line.get("points").split()] == [across(3)] * 2
    assert {"correction phase: layer 4", "step along the direction: after layer 3"} <= set(texts(root))


def test_ticks_are_layers(root):
    assert {str(layer) for layer in range(6)} <= set(texts(root))


def test_without_a_phase_it_says_so_and_draws_neither():
    bare = ET.fromstring(layers_svg(study_without_phase()))
    assert "no correction phase found" in texts(bare)
    assert PHASE not in {rect.get("fill") for rect in bare.iter(f"{SVG}rect")}
    assert "ideal" not in {line.get("class") for line in bare.iter(f"{SVG}polyline")}
