"""The record of an epistemic score: figures of known rows, and what cannot be said of some."""

import json

import pytest
import torch

from models.training.epistemic_report import Judged, epistemic_record

WRONG = torch.tensor([False, False, True, False, True, True])
RISING = torch.arange(6.0)


def judged(wrong=WRONG, new=RISING, serving=-RISING, exact=None):
    scores = {"epistemic": new, "max_prob": new.square()} | ({} if serving is None else {"serving": serving})
    return Judged(wrong, scores, torch.tensor([0.0, 0.05, 0.1, 0.95, 0.99, 1.0]), new.square(), "fast", exact)


def test_figures_of_six_rows():
    other = (torch.tensor([1.0, 2.0, 3.0]), torch.tensor([3.0, 2.0, 1.0]))
    found = epistemic_record(judged(exact=other), "float32", 0)
    assert (found["rows"], found["wrong"], found["constant"]) == (6, 3, False)
    auroc = found["scores"]["epistemic"]["auroc"]
    assert auroc["value"] == pytest.approx(8 / 9)
    assert auroc["low"] < 8 / 9 <= auroc["high"] <= 1
    assert found["scores"]["serving"]["auroc"]["value"] == pytest.approx(1 / 9)
    assert found["scores"]["epistemic"]["aurc"] == pytest.approx((0 + 0 + 1 / 3 + 1 / 4 + 2 / 5 + 3 / 6) / 6)
    assert found["spearman"] == pytest.approx({"last_layer": 1, "exact": -1, "exact_rows": 3})
    parts = [(part["from"], part["rows"], part["accuracy"]) for part in found["parts"] if part["rows"]]
    assert parts == [(0.0, 2, 1.0), (0.1, 1, 0.0), (0.9, 3, pytest.approx(1 / 3))]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize("value", [False, True])
def test_rows_that_are_all_right_or_all_wrong_have_no_auroc(value):
    found = epistemic_record(judged(wrong=torch.full((6,), value)), "float32", 0)
    assert found["scores"]["epistemic"] == {"auroc": None, "aurc": float(value)}


def test_a_constant_score_is_told_and_has_no_rank_correlation():
    found = epistemic_record(judged(new=torch.ones(6), serving=None), "float32", 0)
    assert found["constant"]
    assert found["spearman"]["last_layer"] is None
    assert found["scores"]["epistemic"]["auroc"]["value"] == 0.5
