"""The promotion gate: each measure at, below and above its limit, in every precision, on unfitted rows only."""

import pytest

from models.training.gate import Gate


def evaluation(active=(0.5, 0.1, 0.9), after=(0.5, 0.1, 0.9), role="report", precision="float32"):
    """Each of (NLL, ECE, accuracy)."""
    shown = [
        {"nll": {"value": nll}, "ece": ece, "accuracy": {"value": accuracy}} for nll, ece, accuracy in (active, after)
    ]
    return {
        "role": role,
        "precision": precision,
        "rows": 100,
        "data": "set",
        "active": shown[0],
        "after": shown[1],
    }


def test_no_change_holds_and_the_limits_are_told():
    assert Gate().judge([evaluation()]) == {
        "held": True,
        "reasons": [],
        "limits": {"max_nll_increase": 0.0, "max_ece_increase": 0.0, "max_accuracy_drop": 0.01},
    }


@pytest.mark.parametrize(
    ("after", "told"),
    [
        ((0.51, 0.1, 0.9), "NLL in float32 on 100 rows of set would go from 0.5000 to 0.5100, over the limit of +0"),
        ((0.5, 0.101, 0.9), "ECE in float32 on 100 rows of set would go from 0.1000 to 0.1010, over the limit of +0"),
        ((0.5, 0.1, 0.88), "error rate in float32 on 100 rows of set would go from 0.1000 to 0.1200"),
    ],
)
def test_each_measure_may_refuse_alone(after, told):
    verdict = Gate().judge([evaluation(after=after)])
    assert not verdict["held"]
    (reason,) = verdict["reasons"]
    assert reason.startswith(told)


@pytest.mark.parametrize("after", [(0.4, 0.05, 0.95), (0.5, 0.1, 0.89), (0.5 + 1e-12, 0.1 + 1e-12, 0.89 - 1e-12)])
def test_better_equal_and_at_the_limit_hold(after):
    assert Gate().judge([evaluation(after=after)])["held"]


def test_limits_may_be_wider():
    gate = Gate(max_nll_increase=0.2, max_ece_increase=0.05, max_accuracy_drop=0.1)
    assert gate.judge([evaluation(after=(0.69, 0.149, 0.801))])["held"]
    verdict = gate.judge([evaluation(after=(0.71, 0.151, 0.799))])
    assert [reason.split(" in ")[0] for reason in verdict["reasons"]] == ["NLL", "ECE", "error rate"]


def test_one_bad_precision_is_enough_and_fitted_rows_do_not_count():
    bad = (0.9, 0.5, 0.1)
    good, worse = evaluation(), evaluation(after=bad, precision="bfloat16")
    assert not Gate().judge([good, worse])["held"]
    assert all("bfloat16" in reason for reason in Gate().judge([good, worse])["reasons"])
    assert Gate().judge([good, evaluation(after=bad, role="fit"), evaluation(after=bad, role="shift")])["held"]


def test_without_evidence_there_is_no_verdict():
    for evaluations in ([], [evaluation(role="fit")]):
        with pytest.raises(ValueError, match="not fitted"):
            Gate().judge(evaluations)
