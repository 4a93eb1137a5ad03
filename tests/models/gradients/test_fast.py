"""The fast form: exact where it has every direction, near it where it has few."""

import math

import pytest
import torch
from scipy.stats import spearmanr

from models.core.errors import UnsupportedError
from models.core.gradient_plan import GradientPlan
from models.gradients.exact import ExactGradients
from tests.models.gradients.small_network import CLASSES, fast_gradients, images, small_network


def exact_energies(rows):
    found = ExactGradients(small_network(), images(2), GradientPlan(2, 1)).energies(rows)
    return torch.cat([row.energies for row in found])


def test_with_every_direction_it_is_exact():
    features, found = fast_gradients(small_network(), GradientPlan(4, CLASSES - 1)).outputs(images())
    torch.testing.assert_close(found.energies, exact_energies(images()), rtol=1e-9, atol=0)
    torch.testing.assert_close(features, small_network().trunk(images()))
    assert found.layers == 4


def test_one_direction_is_enough_for_the_two_last_layers():
    _, found = fast_gradients(small_network(), GradientPlan(2, 1)).outputs(images())
    torch.testing.assert_close(found.energies, exact_energies(images())[:, -2:], rtol=1e-9, atol=0)


def test_one_direction_ranks_inputs_as_the_exact_form_does():
    rows = images(60) * torch.linspace(0.1, 3, 60, dtype=torch.float64)[:, None, None, None]
    _, found = fast_gradients(small_network(), GradientPlan(4, 1)).outputs(rows)
    # Measured: .981 for this network; the benchmarks tell of real ones.
    assert spearmanr(found.energies.sum(dim=1), exact_energies(rows).sum(dim=1)).statistic > 0.97


def test_a_layer_that_mixes_the_channels_is_noticed():
    assert fast_gradients(small_network(), GradientPlan(3, 1)).diagonal
    assert not fast_gradients(small_network(diagonal=False), GradientPlan(3, 1)).diagonal


def test_without_that_control_every_direction_is_still_exact():
    network = small_network(diagonal=False)
    found = fast_gradients(network, GradientPlan(4, CLASSES - 1)).outputs(images())[1]
    exact = ExactGradients(network, images(2), GradientPlan(2, 1)).energies(images())
    torch.testing.assert_close(found.energies, torch.cat([row.energies for row in exact]), rtol=1e-9, atol=0)


@pytest.mark.parametrize("perturbations", [0, 2])
def test_an_image_does_not_depend_on_its_batch(perturbations):
    fast = fast_gradients(small_network(), GradientPlan(3, 2, perturbations, sigma=0.2))
    singles = torch.cat([fast.outputs(image[None])[1].energies for image in images()])
    torch.testing.assert_close(fast.outputs(images())[1].energies, singles, rtol=1e-9, atol=0)


def test_perturbed_copies_share_their_gradient():
    calm = fast_gradients(small_network(), GradientPlan(4, CLASSES - 1)).outputs(images())[1].energies
    for sigma, tolerance in ((1e-6, 1e-3), (0.5, None)):
        plan = GradientPlan(4, CLASSES - 1, perturbations=2, sigma=sigma)
        shaken = fast_gradients(small_network(), plan).outputs(images())[1].energies
        if tolerance:
            torch.testing.assert_close(shaken, calm, rtol=tolerance, atol=0)
        else:
            assert bool((shaken[:, 0] - calm[:, 0]).abs().gt(0.05 * calm[:, 0]).any())


def test_an_input_without_doubt_has_no_gradient_and_no_nan():
    network = small_network()
    network.head.bias[2] = 1e6
    _, found = fast_gradients(network, GradientPlan(4, 1)).outputs(images())
    assert torch.equal(found.energies, torch.zeros_like(found.energies))


@pytest.mark.parametrize("rest", [1e-3, 1e-6, 1e-9, 1e-12])
def test_float32_keeps_its_digits_where_the_network_is_certain(rest):
    network = small_network()
    network.head.bias[2] = 0
    others = network(images()).exp().sum(dim=1).max()
    network.head.bias[2] += math.log(others / rest) - float(network(images())[:, 2].min())
    exact = ExactGradients(network, images(2), GradientPlan(2, 1)).energies(images())
    expected = torch.cat([row.energies for row in exact])
    found = fast_gradients(network.float(), GradientPlan(4, CLASSES - 1), torch.float32).outputs(images().float())[1]
    torch.testing.assert_close(found.energies.double(), expected, rtol=2e-3, atol=0)


def test_a_parameter_with_several_uses_is_refused():
    network = small_network()
    network.trunk[4] = network.trunk[1]
    with pytest.raises(UnsupportedError, match="shares its parameters"):
        fast_gradients(network, GradientPlan(4, 1))
