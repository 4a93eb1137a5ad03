"""The exact form against a backward pass for every class."""

import pytest
import torch

from models.core.gradient_plan import GradientPlan
from models.gradients.class_gradients import ClassGradients
from models.gradients.exact import ExactGradients
from models.gradients.family import Family, directions, with_perturbed
from models.gradients.layer_kind import Batch
from models.gradients.layers import find_layers
from tests.models.gradients.small_network import images, small_network


def exact(perturbations=0, sigma=0.02, network=None):
    return ExactGradients(network or small_network(), images(2), GradientPlan(2, 1, perturbations, sigma))


def energies(found):
    return torch.cat([row.energies for row in found])


def by_class(perturbations=0, sigma=0.02):
    """sum_c ||mean over copies of √p_c g_c||² of each layer, one backward pass a class."""
    network, family = small_network(), Family(perturbations=perturbations, sigma=sigma)
    gradients = ClassGradients(network, find_layers(network, lambda: network(images())), network)
    rows = with_perturbed(images(), family, seed=0).flatten(0, 1)
    copies = 1 + perturbations
    return gradients.norms(rows, Batch(len(images()), copies), directions(family, copies))[1].sum(dim=0)


@pytest.mark.parametrize("perturbations", [0, 3])
def test_equals_the_sum_over_classes(perturbations):
    found = energies(exact(perturbations, 0.3).energies(images()))
    torch.testing.assert_close(found, by_class(perturbations, 0.3), rtol=1e-10, atol=0)


def test_float32_is_near():
    network = small_network().float()
    found = ExactGradients(network, images(2).float(), GradientPlan(2, 1)).energies(images().float())
    torch.testing.assert_close(energies(found).double(), by_class(), rtol=1e-4, atol=0)


def test_an_image_does_not_depend_on_its_batch():
    form = exact()
    singles = [energies(form.energies(image[None])) for image in images(20)]
    torch.testing.assert_close(energies(form.energies(images(20))), torch.cat(singles), rtol=1e-10, atol=0)


def test_has_every_layer():
    found = exact().energies(images(1))[0]
    assert found.energies.shape == (1, 4)
    assert found.layers == 4


@pytest.mark.parametrize("passes", [0, 1, 12])
def test_stops_between_backward_passes_and_keeps_what_is_done(passes, monkeypatch):
    monkeypatch.setattr("models.gradients.exact.ROWS", 1)
    asked = iter(range(10_000))
    found = exact().energies(images(3), lambda: next(asked) >= passes)
    done = [row is not None for row in found]
    assert done == sorted(done, reverse=True)
    assert sum(done) == (1 if passes == 12 else 0)
    assert next(asked) == passes + 1


def test_leaves_the_network_as_it_is():
    network = small_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    logits = network(images())
    exact(network=network).energies(images())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(network(images()), logits)
    assert all(parameter.grad is None for parameter in network.parameters())
