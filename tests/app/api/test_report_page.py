"""The report page says what the report says, of a version or of a job, and survives hostile names."""

import re
from dataclasses import replace

import pytest

from app.api.report_page import report_page, version_report_page
from models.checkpoints.shipped import FOLDER
from models.core.checkpoint import read_manifest
from models.core.manifest import Manifest
from tests.fixtures.evaluations import CLASSES, made_evaluation

GATE = {"held": False, "reasons": ["ECE got <worse>"], "limits": {"max_ece_increase": 0.0, "max_nll_increase": 0.25}}
SELECTION = {
    "chosen": "temperature",
    "table": [
        {"name": name, "nll": nll, "standard_error": 0.02, "behind": nll - 1.1, "behind_error": 0.01}
        for name, nll in (("none", 1.4), ("temperature", 1.1))
    ],
    "skipped": {"feature_clipping": "needs <features>"},
    "reason": "temperature has the least NLL & is the simplest.",
}


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return read_manifest(FOLDER / "efficientnet-lite0")


@pytest.fixture(scope="module")
def page() -> str:
    evaluations = [made_evaluation(active=True), made_evaluation("shift", "bfloat16")]
    return report_page("m <1>", evaluations, notes=["A & b."], classes=CLASSES, gate=GATE, selection=SELECTION)


class TestOfAVersion:
    def test_it_holds_every_figure_and_the_warning_of_the_shifted_set(self, manifest: Manifest) -> None:
        page = version_report_page("efficientnet-lite0", 1, manifest)
        for evaluation in manifest.report["evaluations"]:
            for compared in evaluation["compared"].values():
                assert f"<td>{compared['ece']:.3f}</td>" in page
        for precision in manifest.precisions:
            assert f'<p class="warning">In {precision}: On imagenet_val_imagenette160_shared' in page
        assert manifest.machine in page

    def test_what_was_decided_is_shown_where_the_report_has_it(self, manifest: Manifest) -> None:
        assert "Promotion gate" not in version_report_page("m", 1, manifest)
        decided = replace(manifest, report=dict(manifest.report) | {"gate": GATE, "selection": SELECTION})
        page = version_report_page("m", 1, decided)
        assert "Promotion gate" in page
        assert "Choice of the calibrator" in page

    def test_a_version_that_nobody_judged(self, manifest: Manifest) -> None:
        page = version_report_page("m", 1, replace(manifest, report={"evaluations": []}))
        assert "Nothing was evaluated." in page
        assert '<p class="warning">This version was never calibrated or judged' in page

    def test_the_precision_that_is_served_here_comes_first(self, manifest: Manifest) -> None:
        for served in manifest.precisions:
            page = version_report_page("m", 1, manifest, served)
            assert re.findall(r"<h2>Served in (\w+)", page)[0] == served

    def test_measures_that_an_older_report_lacks_are_left_out(self, manifest: Manifest) -> None:
        old = made_evaluation()
        for when in ("before", "after"):
            for name in ("smooth_ece", "risk_coverage", "worst_classes", "intervals", "local_calibration_error"):
                del old[when][name]
        page = version_report_page("m", 1, replace(manifest, report={"evaluations": [old]}))
        for absent in ("<td>smooth ECE</td>", "coverage: share", "Worst classes, after", "<td>local"):
            assert absent not in page
        assert f"<td>{old['after']['mce']:.3f}</td>" in page


def test_warnings_come_before_the_decisions_and_these_before_the_figures(page: str) -> None:
    worse = made_evaluation()
    worse["before"], worse["after"] = worse["after"], worse["before"]
    warned = report_page("m", [worse], gate=GATE, selection=SELECTION)
    places = [warned.index(mark) for mark in ('class="warning"', "Promotion gate", "Choice of", "Served in", "<svg")]
    assert places == sorted(places)
    assert 'class="warning"' not in page


@pytest.mark.parametrize("when", ["before", "active", "after"])
def test_every_measure_is_there_with_its_interval(page: str, when: str) -> None:
    found = made_evaluation(active=True)[when]
    for name in ("accuracy", "nll"):
        assert f"{found[name]['value']:.3f}<br><small>{found[name]['low']:.3f} to {found[name]['high']:.3f}" in page
    for name, interval in found["intervals"].items():
        assert f"<td>{found[name]:.3f}<br><small>{interval['low']:.3f} to {interval['high']:.3f}</small></td>" in page
    plain = ("ece_floor", "ece_debiased", "ece_mass", "ece_mass_floor", "ece_mass_debiased", "mce", "aurc", "ause")
    for name in (*plain, "ause_nll", "coverage_at_5_risk", "error_auroc", "grouping_loss", "mean_confidence"):
        assert f"<td>{found[name]:.3f}</td>" in page
    for value in found["local_calibration_error"].values():
        assert f"<td>{value:.3f}</td>" in page


def test_a_measure_that_one_side_lacks_is_a_dash() -> None:
    evaluation = made_evaluation()
    evaluation["before"]["ause"] = None
    assert f"<td>-</td><td>{evaluation['after']['ause']:.3f}</td>" in report_page("m", [evaluation])


def test_serving_then_is_a_column_only_where_a_version_was_serving() -> None:
    assert "<th>serving then</th>" in report_page("m", [made_evaluation(active=True)])
    assert "serving then" not in report_page("m", [made_evaluation()])


def test_worst_classes_have_their_names(page: str) -> None:
    (worst, *_) = made_evaluation()["after"]["worst_classes"]
    assert worst["class_index"] == 2
    assert f"<td>&lt;b&gt;shark&lt;/b&gt;</td><td>{worst['count']}</td><td>{worst['confidence']:.3f}</td>" in page
    assert f"<td>{worst['gap']:+.3f}</td>" in page
    assert "<td>class 2</td>" in report_page("m", [made_evaluation()])


def test_no_worst_class_is_said_in_words() -> None:
    evaluation = made_evaluation()
    evaluation["after"]["worst_classes"] = []
    assert "No class stands out" in report_page("m", [evaluation])


def test_the_gate_says_why_and_by_which_limits(page: str) -> None:
    assert "The gate did not hold: this version stays a candidate." in page
    assert "<li>ECE got &lt;worse&gt;</li>" in page
    assert "max ece increase 0, max nll increase 0.25" in page
    held = report_page("m", [made_evaluation()], gate=GATE | {"held": True, "reasons": []})
    assert '<p class="held">The gate held: this version may serve.</p>' in held


def test_the_selection_says_what_was_tried_and_why(page: str) -> None:
    assert "temperature has the least NLL &amp; is the simplest." in page
    assert "<tr><td>none</td><td>1.4000</td><td>0.0200</td><td>0.3000</td><td>0.0100</td></tr>" in page
    assert '<tr class="chosen"><td>temperature (chosen)</td>' in page
    assert "<li>feature_clipping was skipped: needs &lt;features&gt;</li>" in page


def test_the_page_needs_no_network_and_everything_is_escaped(page: str) -> None:
    assert set(re.findall(r"https?://[^\s\"'<]+", page)) == {"http://www.w3.org/2000/svg"}  # a name, never fetched
    assert not re.findall(r"<script|<link|<img|@import|url\(", page)
    for text in ("m <1>", "made <i>rows</i>", "<b>shark", "<worse>", "<features>", "A & b", "drawn & judged"):
        assert text not in page
    assert "m &lt;1&gt;" in page
