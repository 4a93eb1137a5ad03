"""Feedback alignment: gradients by the formula, and a network that is afterwards as it was."""

from dataclasses import replace

import pytest
import torch

from models.core.errors import UnsupportedError
from models.training.classifier.feedback import learning_rule
from models.training.classifier.initial import initial_network
from models.training.classifier.randomness import generator_for
from tests.models.training.classifier.small_trainings import PLAN, perceptron, same, train

IMAGES = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def gradients(network, rule):
    network.zero_grad()
    with learning_rule(network, rule, seed=4):
        network(IMAGES).square().sum().backward()
    return {name: parameter.grad.clone() for name, parameter in network.named_parameters()}


def test_the_error_goes_backwards_through_fixed_weights():
    network = perceptron(depth=2)
    first, norm, last = network.layers[1], network.layers[3], network.fc
    drawn = torch.randn(last.weight.shape, generator=generator_for(4, "feedback", 1))
    fixed = drawn * (2 / last.in_features) ** 0.5  # as the weights of the paper's code are
    inputs = IMAGES.flatten(1)
    hidden = first(inputs)
    features = norm(hidden.relu())
    error = 2 * last(features)
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()  # in eval mode
    before = (error @ fixed) * scale * (hidden > 0)
    found = gradients(network, "feedback_alignment")
    torch.testing.assert_close(found["fc.weight"], error.T @ features)
    torch.testing.assert_close(found["fc.bias"], error.sum(dim=0))
    torch.testing.assert_close(found["layers.1.weight"], before.T @ inputs)
    backprop = gradients(network, "backprop")
    assert torch.allclose(found["fc.weight"], backprop["fc.weight"])
    assert not torch.allclose(found["layers.1.weight"], backprop["layers.1.weight"], rtol=0.1)


def test_the_network_is_restored_also_after_an_error():
    network = perceptron()
    before = network(IMAGES)
    with pytest.raises(RuntimeError, match="broken off"), learning_rule(network, "feedback_alignment", 4):
        raise RuntimeError("broken off")
    assert not any("forward" in vars(module) for module in network.modules())
    assert torch.equal(network(IMAGES), before)


def test_convolutions_are_refused():
    network = initial_network("howsure", "resnet9", {"widths": [2, 2, 2, 2]}, "he", 0)
    with (
        pytest.raises(UnsupportedError, match="networks of linear layers"),
        learning_rule(network, "feedback_alignment", 0),
    ):
        pass


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_network_learns_by_it(precision):
    plan = replace(PLAN, epochs=8, precision=precision, learning_rule="feedback_alignment")
    found = train(perceptron(), plan)
    assert found.curve[-1].loss < 0.8 * found.curve[0].loss
    assert not same(found.state, train(perceptron(), replace(plan, learning_rule="backprop")).state)
