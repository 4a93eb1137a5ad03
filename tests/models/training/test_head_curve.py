import pytest
import torch

from models.training.head_curve import CurvePoint, HeldOut, best_point, is_collapsed, is_exhausted


def curve(*correlations):
    return [CurvePoint(step, 0.1, value) for step, value in enumerate(correlations)]


@pytest.mark.parametrize(
    ("correlations", "best"),
    [
        ((0.1, 0.3, 0.2), 1),
        ((0.3, 0.3), 0),
        ((None, -0.2, None), 1),
        ((-0.2, None, -0.1), 2),
        ((None,), None),
        ((), None),
    ],
)
def test_the_best_is_the_first_of_the_highest(correlations, best):
    found = best_point(curve(*correlations))
    assert (found and found.step) == best


@pytest.mark.parametrize(
    ("correlations", "exhausted"),
    [
        ((), False),
        ((0.3, 0.1), False),
        ((0.3, 0.1, 0.2), True),
        ((0.3, 0.1, 0.4), False),
        ((0.3, 0.3, 0.3), True),
        ((None,), False),
        ((None, None), True),
        ((None, 0.1), False),
    ],
)
def test_two_checks_that_bring_nothing_better_exhaust_a_patience_of_two(correlations, exhausted):
    assert is_exhausted(curve(*correlations), 2) is exhausted


def test_held_out_rows_judge_by_order_and_not_by_scale():
    rows = HeldOut(torch.zeros(3, 2), torch.tensor([1.0, 2.0, 9.0]))
    assert rows.judge(torch.tensor([0.1, 0.2, 0.3])) == pytest.approx(1)
    assert rows.judge(torch.tensor([7.0, 5.0, 1.0])) == pytest.approx(-1)
    assert rows.judge(torch.ones(3)) is None


@pytest.mark.parametrize(("spread", "collapsed"), [(0.0, True), (2e-7, True), (1e-3, False)])
def test_a_constant_is_known_by_its_rounding(spread, collapsed):
    assert is_collapsed(torch.tensor([0.7, 0.7 + spread, 0.7])) is collapsed


def test_a_head_that_has_diverged_is_refused():
    with pytest.raises(ValueError, match="lower rate"):
        HeldOut(torch.zeros(2, 2), torch.arange(2.0)).judge(torch.tensor([1.0, torch.nan]))


@pytest.mark.parametrize(
    ("features", "losses", "message"),
    [
        (torch.zeros(3, 2), torch.arange(2.0), "losses \\(M,\\)"),
        (torch.zeros(3), torch.arange(3.0), "features \\(M, D\\)"),
        (torch.zeros(3, 2), torch.ones(3), "all the same"),
        (torch.zeros(0, 2), torch.ones(0), "all the same"),
    ],
)
def test_refuses_rows_that_cannot_judge(features, losses, message):
    with pytest.raises(ValueError, match=message):
        HeldOut(features, losses)
