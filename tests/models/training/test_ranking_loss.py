import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.training.ranking_loss import LOSSES, all_pairs_loss, pair_loss
from tests.oracles import ranking_loss as oracle

DOUBLE = torch.float64
# Small integers make ties of losses; batches of one row and odd ones are drawn too.
ROWS = st.lists(st.tuples(st.floats(-2, 2), st.one_of(st.integers(0, 2).map(float), st.floats(0, 5))), min_size=1)


@settings(deadline=None)
@given(rows=ROWS, margin=st.sampled_from([0.1, 1.0]), dead_zone=st.sampled_from([0.0, 0.5]))
@pytest.mark.parametrize("name", LOSSES)
def test_equals_the_definition(name, rows, margin, dead_zone):
    values, losses = map(list, zip(*rows, strict=True))
    found = LOSSES[name](torch.tensor(values, dtype=DOUBLE), torch.tensor(losses, dtype=DOUBLE), margin, dead_zone)
    assert float(found) == pytest.approx(getattr(oracle, name)(values, losses, margin, dead_zone), abs=1e-12)


def test_a_descent_puts_the_rows_in_the_order_of_their_losses():
    losses = torch.tensor([3.0, 1.0, 2.0, 0.0])
    values = torch.zeros(4, requires_grad=True)
    all_pairs_loss(values, losses).backward()
    assert (-values.grad).argsort().tolist() == losses.argsort().tolist()


@pytest.mark.parametrize("losses", [[2.0, 1.0], [1.0, 2.0]])
def test_a_pair_is_pushed_until_the_margin(losses):
    for gap, expected in ((-0.3, 0.4), (0.0, 0.1), (0.04, 0.06), (0.2, 0.0)):
        higher, lower = (0.5 + gap, 0.5) if losses[0] > losses[1] else (0.5, 0.5 + gap)
        assert float(pair_loss(torch.tensor([higher, lower]), torch.tensor(losses))) == pytest.approx(expected)


def test_a_tie_does_not_dilute_the_other_pairs():
    values = torch.tensor([0.1, 0.2, 0.9, 0.3], requires_grad=True)
    pair_loss(values, torch.tensor([2.0, 1.0, 5.0, 5.0])).backward()
    assert values.grad.tolist() == [-1, 1, 0, 0]


@pytest.mark.parametrize("name", ["pairs", "all_pairs"])
def test_ties_alone_teach_nothing(name):
    values = torch.tensor([0.1, 0.2, 0.9, 0.3], requires_grad=True)
    found = LOSSES[name](values, torch.full((4,), 5.0), 0.1, 0.0)
    found.backward()
    assert float(found.detach()) == 0
    assert values.grad.tolist() == [0, 0, 0, 0]


def test_losses_as_close_as_the_dead_zone_are_told_apart_and_closer_ones_are_not():
    values = torch.tensor([0.0, 0.0])
    assert float(pair_loss(values, torch.tensor([1.0, 1.5]), dead_zone=0.5)) == pytest.approx(0.1)
    assert float(pair_loss(values, torch.tensor([1.0, 1.25]), dead_zone=0.5)) == 0


def test_the_last_row_of_an_odd_batch_is_trained_on():
    values = torch.zeros(3, requires_grad=True)
    pair_loss(values, torch.tensor([1.0, 2.0, 3.0])).backward()
    assert values.grad.tolist() == [1.0, -0.5, -0.5]


@pytest.mark.parametrize("name", LOSSES)
def test_the_task_loss_gets_no_gradient(name):
    values, losses = torch.rand(4, requires_grad=True), torch.arange(4.0, requires_grad=True)
    LOSSES[name](values, losses, 0.1, 0.0).backward()
    assert losses.grad is None
    assert values.grad is not None


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shapes", [((2,), (3,)), ((2, 1), (2, 1)), ((0,), (0,))])
def test_refuses_rows_that_do_not_fit(name, shapes):
    with pytest.raises(ValueError, match="pass one of each a row"):
        LOSSES[name](torch.ones(shapes[0]), torch.ones(shapes[1]), 0.1, 0.0)
