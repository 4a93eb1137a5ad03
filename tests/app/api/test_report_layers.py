"""The part of a report on the layers: what was found, every way beside the others, and what was not found."""

from app.api.report_layers import layers_section
from app.api.report_page import report_page
from tests.fixtures.evaluations import made_evaluation
from tests.fixtures.layer_studies import made_study, study_without_phase


def test_it_tells_phase_step_and_temperature():
    page = layers_section(made_study())
    assert "found on 80 rows in float32; picture and comparison are of 120 other rows" in page
    assert "Correction phase: layer 4; ECE is highest after layer 3." in page
    assert "agree to 0.75" in page
    assert "a step of +0.10 mean lengths of the stream after layer 3, then a temperature of 1.250" in page
    assert page.count("<svg") == 1


def test_every_way_has_its_figures_and_ece_its_interval():
    page = layers_section(made_study())
    assert "<td>nothing</td><td>0.160<br><small>0.140 to 0.190</small></td><td>0.260</td><td>0.250</td>" in page
    assert "<td>random directions, mean</td><td>0.155<br><small>0.125 to 0.185</small></td>" in page
    assert page.index("<td>nothing</td>") < page.index("<td>step along the direction</td>")


def test_it_says_who_wins():
    page = layers_section(made_study())
    found = "<td>0.060<br><small>0.030 to 0.090</small></td><td>better</td>"
    assert f"<td>step along the direction, against nothing</td>{found}" in page
    assert "against random directions, mean</td><td>0.010<br><small>-0.020 to 0.040</small></td>" in page
    assert "<td>not certain</td>" in page
    assert "against temperature</td><td>-0.040<br><small>-0.070 to -0.010</small></td><td>worse</td>" in page


def test_every_layer_and_every_step_has_a_row():
    page = layers_section(made_study())
    assert "<td>3</td><td>0.460</td><td>0.510</td><td>0.250</td><td>0.710</td><td>0.450</td>" in page
    assert "<tr><th>step</th><th>ECE, layer 3</th><th>accuracy, layer 3</th><th>ECE, layer 4</th>" in page
    assert "<td>-0.10</td><td>0.250</td><td>0.510</td><td>0.250</td><td>0.510</td>" in page


def test_the_null_space_and_the_neurons_that_write_there():
    page = layers_section(made_study())
    assert "1 of the stream's 32 directions" in page
    assert "in them: 0.333, by chance 0.177" in page
    assert "<td>17</td><td>2.5</td><td>0.625</td><td>0.0125</td>" in page


def test_what_was_not_found_is_said_and_nothing_else_shown():
    page = layers_section(study_without_phase())
    assert '<p class="warning">No step is served: no correction phase found: &lt;flat&gt;.</p>' in page
    assert "Chosen" not in page
    assert "Steps tried" not in page
    assert "in them: -," in page
    assert "no neurons that could be told apart" in page


def test_it_is_on_the_page_of_a_version_that_has_a_study():
    evaluations = [made_evaluation()]
    page = report_page("m", evaluations, layers=made_study())
    assert page.index("<h2>Layers</h2>") < page.index("Served in")
    assert "<h2>Layers</h2>" not in report_page("m", evaluations)
