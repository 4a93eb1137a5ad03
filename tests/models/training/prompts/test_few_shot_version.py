"""Figures of slices, and what the gate makes of them."""

import math

import pytest
import torch

from models.training.gate import Gate
from models.training.prompts.few_shot_version import SliceFigures, judged_slices

FIGURES = {"rows": 900, "accuracy": 0.4, "confidence": 0.5, "nll": 0.6, "ece": 0.1, "ece_floor": 0.01}


def record(role, **after):
    about = {"data": "questions", "role": role, "rows": 900, "precision": "float32", "slices": []}
    return about | {"before": FIGURES, "active": FIGURES, "after": FIGURES | after}


def test_figures_by_hand():
    found = SliceFigures.of(torch.tensor([0.5, 0.25, 0.25, 1.0]), torch.tensor([True, False, True, True]))
    assert (found.rows, found.accuracy, found.confidence) == (4, 0.75, 0.5)
    assert found.nll == pytest.approx(-(math.log(0.5) + math.log(0.75) + math.log(0.25)) / 4, rel=1e-6)
    assert found.ece == pytest.approx((0.5 + 2 * 0.25) / 4)


def test_better_slices_hold_and_rows_fitted_on_have_no_say():
    found = judged_slices(Gate(), [record("report", ece=0.05), record("fit", nll=9.0)])
    assert (found["held"], found["reasons"]) == (True, [])


def test_worse_ones_do_not():
    found = judged_slices(Gate(), [record("report", nll=0.65, ece=0.05)])
    assert found["reasons"] == [
        "NLL in float32 on 900 rows of slices of questions would go from 0.6000 to 0.6500, over the limit of +0"
    ]
    assert not found["held"]
