"""The gate of an epistemic score: constant, worse than before, at the limit, and where it has nothing to judge by."""

import pytest

from models.training.epistemic_gate import EpistemicGate


def record(serving=0.8, new=0.8, wrong=30, constant=False, precision="float32"):
    """AUROC of each score; `serving` None: the version before has no epistemic score."""
    scores = {name: {"auroc": {"value": value}} for name, value in (("epistemic", new), ("serving", serving)) if value}
    if wrong in (0, 100):
        scores = {name: {"auroc": None} for name in scores}
    return {"precision": precision, "rows": 100, "wrong": wrong, "constant": constant, "scores": scores}


@pytest.mark.parametrize("new", [0.9, 0.8, 0.78, 0.78 - 1e-12])
def test_better_equal_and_at_the_limit_hold(new):
    verdict = EpistemicGate().judge([record(new=new)])
    assert verdict == {"held": True, "reasons": [], "unjudged": [], "limits": {"max_auroc_drop": 0.02}}


def test_worse_than_the_score_that_serves():
    verdict = EpistemicGate().judge([record(), record(new=0.77, precision="bfloat16")])
    assert not verdict["held"]
    told = "AUROC of being wrong in bfloat16 on 100 rows would go from 0.8000 to 0.7700, over the limit of -0.02"
    assert verdict["reasons"] == [told]
    assert EpistemicGate(0.05).judge([record(new=0.77)])["held"]


@pytest.mark.parametrize("wrong", [0, 30, 100])
def test_a_constant_score_never_holds(wrong):
    verdict = EpistemicGate(1.0).judge([record(wrong=wrong, constant=True)])
    assert verdict["reasons"] == ["the epistemic score in float32 on 100 rows is the same for all"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"wrong": 0}, "no AUROC in float32 on 100 rows: all of them are right"),
        ({"wrong": 100}, "no AUROC in float32 on 100 rows: all of them are wrong"),
        ({"serving": None}, "nothing to compare with in float32 on 100 rows: the version before has no"),
    ],
)
def test_where_there_is_nothing_to_judge_by_it_holds_and_says_so(given, told):
    verdict = EpistemicGate().judge([record(new=0.1, **given)])
    assert verdict["held"]
    (note,) = verdict["unjudged"]
    assert note.startswith(told)
