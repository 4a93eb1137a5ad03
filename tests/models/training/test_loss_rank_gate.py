"""The gate of a loss-rank head: collapsed, no better than entropy, at the limit, and where nothing can be judged."""

import pytest

from models.training.loss_rank_gate import LossRankGate

MEASURES = ("spearman", "auroc", "r_auroc")


def record(measure="auroc", head=0.8, entropy=0.7, constant=False, wrong=30, recall=0.5, precision="float32"):
    """Of 100 rows; `head` None: the rows do not have the measure."""
    figures = {name: {"value": 0.5} for name in MEASURES}
    scores = {
        name: figures | {measure: None if head is None else {"value": value}}
        for name, value in (("loss_rank", head), ("entropy", entropy))
    }
    known = {"precision": precision, "rows": 100, "wrong": wrong, "constant": constant, "recall_at_1": recall}
    return known | {"scores": scores}


@pytest.mark.parametrize("measure", MEASURES)
def test_better_than_entropy_holds(measure):
    verdict = LossRankGate(measure).judge([record(measure)])
    assert verdict == {
        "held": True,
        "reasons": [],
        "limits": {"measure": measure, "min_gain": 0.0},
    }


def test_no_better_than_entropy_in_any_precision_is_refused():
    verdict = LossRankGate("auroc").judge([record(), record(head=0.6, precision="bfloat16")])
    assert not verdict["held"]
    assert verdict["reasons"] == [
        "AUROC of being wrong in bfloat16 on 100 rows is 0.6000 of loss_rank and 0.7000 of entropy,"
        " not a gain of more than 0"
    ]
    assert not LossRankGate("auroc").judge([record(head=0.7)])["held"]


@pytest.mark.parametrize(("head", "held"), [(0.81, True), (0.8, False), (0.79, False)])
def test_the_least_gain_has_to_be_exceeded(head, held):
    assert LossRankGate("r_auroc", min_gain=0.1).judge([record("r_auroc", head=head)])["held"] is held


@pytest.mark.parametrize("measure", MEASURES)
def test_a_collapsed_head_never_holds(measure):
    verdict = LossRankGate(measure, -1.0).judge([record(measure, constant=True)])
    assert verdict["reasons"] == ["the head has collapsed: loss_rank in float32 on 100 rows is the same for all"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"measure": "auroc", "wrong": 0}, "no AUROC of being wrong in float32 on 100 rows: all of them are right"),
        ({"measure": "auroc", "wrong": 100}, "no AUROC of being wrong in float32 on 100 rows: all of them are wrong"),
        ({"measure": "spearman"}, "no Spearman's correlation with the loss in float32 on 100 rows: all of them have"),
        ({"measure": "r_auroc", "recall": None}, "no R-AUROC in float32 on 100 rows: each is alone in its class"),
        ({"measure": "r_auroc", "recall": 1.0}, "no R-AUROC in float32 on 100 rows: of all the nearest has the same"),
        ({"measure": "r_auroc", "recall": 0.0}, "no R-AUROC in float32 on 100 rows: of none the nearest has the same"),
    ],
)
def test_where_nothing_shows_a_gain_it_does_not_hold_and_says_why(given, told):
    verdict = LossRankGate(given["measure"]).judge([record(head=None, **given)])
    assert not verdict["held"]
    (reason,) = verdict["reasons"]
    assert reason.startswith(told)
    assert reason.endswith("judge by another measure")


def test_refuses_a_measure_that_it_does_not_know():
    with pytest.raises(ValueError, match="one of spearman, auroc, r_auroc"):
        LossRankGate("recall")
