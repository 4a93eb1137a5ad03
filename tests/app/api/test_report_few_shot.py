"""The part of a report on slices."""

from app.api.report_few_shot import few_shot_section
from app.api.report_page import report_page

FIGURES = {"rows": 90, "accuracy": 0.4, "confidence": 0.55, "nll": 0.85, "ece": 0.15, "ece_floor": 0.01}
AFTER = FIGURES | {"confidence": 0.42, "nll": 0.6, "ece": 0.02}
STATES = {"before": FIGURES, "active": FIGURES, "after": AFTER}
ABOUT = {"data": "rows <x>", "precision": "float32", "note": "not fitted on", "slices": [{"slice": "<sea>", **STATES}]}
FOUND = {
    "evaluations": [ABOUT | STATES | {"role": role} for role in ("report", "fit")],
    "gate": {"held": False, "reasons": ["ECE would grow"]},
    "plan": {"shown": 6},
}


def test_it_has_figures_of_all_and_of_each_slice_and_the_verdict():
    page = few_shot_section(FOUND)
    assert "Its gate did not hold. ECE would grow." in page
    assert "6 of its rows are read without their labels" in page
    assert "<td>rows &lt;x&gt;, float32</td><td>90</td><td>after</td><td>0.400</td><td>0.420</td>" in page
    assert "<td>0.600</td><td>0.020</td><td>0.010</td></tr>" in page
    assert page.count("float32 (fitted on: no evidence)</td>") == 3
    assert "rows &lt;x&gt;: not fitted on." in page
    slice_row = "<td>&lt;sea&gt;</td><td>90</td><td>0.400</td><td>0.550</td><td>0.550</td><td>0.420</td>"
    assert page.count(slice_row) == 1, "of the rows that are evidence alone"


def test_a_report_of_slices_alone_does_not_say_that_nothing_was_evaluated():
    assert "Nothing was evaluated" not in report_page("x", [], few_shot=FOUND)
    assert "Nothing was evaluated" in report_page("x", [])
