"""What the gate makes of tokens."""

from models.training.gate import Gate
from models.training.prompts.token_version import judged_tokens

FIGURES = {"tokens": 900, "accuracy": 0.4, "confidence": 0.5, "nll": 3.0, "ece": 0.1, "ece_floor": 0.01}


def record(role, **after):
    return {
        "data": "answers",
        "role": role,
        "rows": 50,
        "precision": "float32",
        "before": FIGURES,
        "active": FIGURES,
        "after": FIGURES | after,
    }


def test_a_better_temperature_holds_and_rows_fitted_on_have_no_say():
    found = judged_tokens(Gate(), [record("report", ece=0.05), record("fit", nll=9.0)])
    assert (found["held"], found["reasons"]) == (True, [])


def test_a_worse_one_does_not():
    found = judged_tokens(Gate(), [record("report", ece=0.11, nll=2.9)])
    assert found["reasons"] == [
        "ECE in float32 on 900 rows of tokens of answers would go from 0.1000 to 0.1100, over the limit of +0"
    ]
    assert not found["held"]
