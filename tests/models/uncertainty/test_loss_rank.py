import math

import pytest
import torch

from models.core.errors import CheckpointError
from models.core.method import Dimensions
from models.core.outputs import ModelOutputs
from models.uncertainty.loss_rank import LossRank, initial_state, loss_ranks
from tests.oracles import ranking_loss as oracle

SIZES = Dimensions(classes=3, features=7)


@pytest.fixture(params=[(5, 1), (4, 2), (6, 3)], ids=str)
def head(request):
    untrained = LossRank(SIZES, *request.param)
    return untrained.load_state(initial_state(untrained, torch.Generator().manual_seed(0)))


@pytest.fixture
def features():
    return 3 * torch.randn(20, 7, generator=torch.Generator().manual_seed(1))


def test_equals_the_definition(head, features):
    state = {name: tensor.tolist() for name, tensor in head.state().items()}
    found = head.score(ModelOutputs(torch.zeros(20, 3), features=features))
    assert found.tolist() == pytest.approx([oracle.head(state, row) for row in features.tolist()], rel=1e-5)


def test_a_loaded_state_brings_its_width_and_depth(head, features):
    again = LossRank(SIZES).load_state(head.state())
    assert (again.width, again.depth) == (head.width, head.depth)
    outputs = ModelOutputs(torch.zeros(20, 3), features=features)
    assert torch.equal(again.score(outputs), head.score(outputs))


def test_is_above_zero_however_low_the_last_layer_is(head, features):
    state = head.state()
    state[f"bias.{head.depth}"] -= 1e4
    assert bool((loss_ranks(state, features) > 0).all())


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("bias.0"),
        lambda state: state.update({"weight.0": torch.zeros(4, 8)}),
        lambda state: state.update({"weight.0": torch.zeros(0, 7)}),
        lambda state: state.update({"bias.1": torch.zeros(3)}),
        lambda state: state.update({"weight.7": torch.zeros(4, 4), "bias.7": torch.zeros(4)}),
        lambda state: state.update({"bias.0": torch.full((4,), torch.nan)}),
        lambda state: state.clear(),
    ],
)
def test_a_damaged_state_is_refused(change):
    head = LossRank(SIZES, width=4)
    state = initial_state(head, torch.Generator().manual_seed(0))
    change(state)
    with pytest.raises(CheckpointError, match="loss_rank"):
        LossRank(SIZES).load_state(state)


@pytest.mark.parametrize("sizes", [(0, 2), (4, 0)])
def test_refuses_a_head_without_hidden_units(sizes):
    with pytest.raises(ValueError, match="at least 1"):
        LossRank(SIZES, *sizes)


def test_begins_as_a_linear_layer_of_torch_does():
    state = initial_state(LossRank(Dimensions(2, 400), width=100), torch.Generator().manual_seed(0))
    for name, inputs in {"weight.0": 400, "bias.0": 400, "weight.1": 100, "bias.2": 100}.items():
        assert float(state[name].abs().max()) <= 1 / math.sqrt(inputs)
    assert float(state["weight.0"].std()) == pytest.approx(1 / math.sqrt(3 * 400), rel=0.02)
