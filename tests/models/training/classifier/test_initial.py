"""Untrained networks follow a seed and a scheme and nothing else."""

import pytest
import torch

from models.core.errors import UnknownNameError
from models.training.classifier.initial import AS_BUILT, INITIALS, initial_network
from tests.models.training.classifier.small_trainings import same

ARGUMENTS = {"num_classes": 4, "depth": 2, "width": 80, "side": 8}


def network(scheme, seed=0):
    return initial_network("howsure", "perceptron", ARGUMENTS, scheme, seed)


@pytest.mark.parametrize("scheme", [AS_BUILT, *INITIALS])
def test_equal_seeds_give_equal_weights_and_leave_the_global_generator_alone(scheme):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = network(scheme)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    assert same(first.state_dict(), network(scheme).state_dict())
    assert not same(first.state_dict(), network(scheme, seed=1).state_dict())
    assert not first.training


@pytest.mark.parametrize(("scheme", "variance"), [("he", 2 / 192), ("xavier", 2 / (192 + 80)), ("orthogonal", 1 / 192)])
def test_variances_are_those_of_the_scheme(scheme, variance):
    layer = network(scheme).layers[1].requires_grad_(False)
    assert float(layer.weight.var()) == pytest.approx(variance, rel=0.05)
    assert float(layer.weight.mean()) == pytest.approx(0, abs=0.002)
    assert not layer.bias.any()


def test_orthogonal_rows_are_orthogonal():
    weight = network("orthogonal").layers[1].weight
    torch.testing.assert_close(weight @ weight.T, torch.eye(80), rtol=0, atol=1e-5)


def test_convolutions_are_initialised_too():
    found = initial_network("howsure", "resnet9", {"widths": [16, 16, 16, 16]}, "he", 0)
    weight = found.layer2.conv.weight.detach()
    assert float(weight.var()) == pytest.approx(2 / (16 * 9), rel=0.1)


def test_an_unknown_scheme_is_refused():
    with pytest.raises(UnknownNameError, match="as_built, he, orthogonal, xavier"):
        network("glorot")
