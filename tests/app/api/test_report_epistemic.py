"""The section of a report on the epistemic score: every figure, what is missing, hostile names."""

import copy
import re

import pytest

from app.api.report_epistemic import epistemic_section
from app.api.report_page import report_page

EPISTEMIC = {
    "plan": {"depth": 8, "directions": 2, "perturbations": 3, "sigma": 0.05, "seed": 0},
    "decay": 2.0,
    "data": {"name": "photos <1>", "rows": 60},
    "note": "rows of the same data & others",
    "chosen": {
        "by": "float32",
        "rows": 60,
        "trials": [{"decay": decay, "sigma": 0.05, "auroc": 0.7 + decay / 100} for decay in (1.0, 2.0)],
    },
    "gate": {"held": False, "reasons": ["AUROC fell"], "unjudged": ["no AUROC in bfloat16"], "limits": {}},
    "precisions": [
        {
            "precision": "float32",
            "rows": 40,
            "wrong": 7,
            "scores": {
                "serving": {"auroc": None, "aurc": 0.25},
                "epistemic": {"auroc": {"value": 0.812, "low": 0.701, "high": 0.899}, "aurc": 0.1234},
            },
            "spearman": {"last_layer": 0.961, "exact": None, "exact_rows": 0},
            "parts": [
                {"from": 0.0, "to": 0.1, "rows": 5, "accuracy": 0.8},
                {"from": 0.1, "to": 0.2, "rows": 0, "accuracy": None},
            ],
        }
    ],
}


@pytest.fixture
def text():
    """As a reader sees it."""
    return lambda epistemic: re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", epistemic_section(epistemic)))


def test_every_figure_is_there(text):
    told = text(EPISTEMIC)
    for part in (
        "last 8 layers by 2 backward passes an input, 3 noisy copies of deviation 0.05, decay 2.",
        "60 rows of photos &lt;1&gt;. Judged on rows of the same data &amp; others.",
        "Its gate did not hold. AUROC fell. no AUROC in bfloat16.",
        "float32: 40 rows, 7 wrong",
        "epistemic, this version 0.812 0.701 to 0.899 0.123 epistemic, serving then - 0.250",
        "of the last layer 0.961. Accuracy",
        "0.0 to 0.1 5 0.800 0.1 to 0.2 0 -",
        "1 0.05 0.7100 2 (chosen) 0.05 0.7200",
    ):
        assert part in told, told


def test_without_noise_and_choice_neither_is_told(text):
    plain = copy.deepcopy(EPISTEMIC) | {"chosen": None}
    plain["plan"]["perturbations"] = 0
    assert "noisy" not in text(plain)
    assert "Choice" not in text(plain)


def test_it_stands_in_the_page_of_a_version_that_has_it():
    assert "Epistemic score" in report_page("m", [], epistemic=EPISTEMIC)
    assert "Epistemic score" not in report_page("m", [])
