"""The part of a report on the tokens of free answers."""

from app.api.report_tokens import tokens_section

FIGURES = {"tokens": 900, "accuracy": 0.4, "confidence": 0.55, "nll": 3.25, "ece": 0.15, "ece_floor": 0.01}
AFTER = FIGURES | {"confidence": 0.42, "nll": 3.0, "ece": 0.02}
ABOUT = {"data": "answers <x>", "precision": "float32", "temperature": 1.3, "note": "not fitted on"}


def test_it_has_figures_before_and_after_and_the_verdict():
    records = [
        ABOUT | {"role": role, "before": FIGURES, "active": FIGURES, "after": AFTER} for role in ("report", "fit")
    ]
    page = tokens_section({"evaluations": records, "gate": {"held": False, "reasons": ["ECE would grow"]}})
    assert "Its gate did not hold. ECE would grow." in page
    assert "<td>answers &lt;x&gt;, float32</td><td>1.300</td><td>900</td>" in page
    assert "<td>0.150</td><td>0.150</td><td>0.020</td></tr>" in page
    assert "float32 (fitted on: no evidence)</td>" in page
    assert "answers &lt;x&gt;: not fitted on." in page
