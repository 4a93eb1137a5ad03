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
    assert "Temperature in float32: 1.300." in page
    assert "<td>answers &lt;x&gt;, float32</td><td>900</td><td>after</td><td>0.400</td><td>0.420</td>" in page
    assert "<td>3.000</td><td>0.020</td><td>0.010</td></tr>" in page
    assert page.count("float32 (fitted on: no evidence)</td>") == 3
    assert "answers &lt;x&gt;: not fitted on." in page
