"""The family of scores against its definition, class by class."""

import pytest
import torch

from models.gradients.family import PRESETS, Classes, Family, family_score, layer_weights, with_perturbed
from tests.models.gradients.architectures import SUBJECTS
from tests.models.gradients.measured import expected, prepared


@pytest.fixture
def subject():
    torch.manual_seed(0)
    return SUBJECTS["mlp"]()


def by_definition(subject, family):
    gradients = prepared(subject)
    squares, absolutes = expected(subject, gradients.layers)
    norms = (absolutes if family.q == 1 else squares)[:, :, -(family.depth or len(gradients.layers)) :]
    weights = layer_weights(family.decay, len(gradients.layers))[-norms.shape[2] :].to(norms)
    each = (norms @ weights) ** (family.r / family.q)
    probabilities = subject.forward(subject.inputs).softmax(dim=1)
    if family.classes is Classes.PREDICTED:
        return each.gather(0, probabilities.argmax(dim=1)[None])[0]
    return (probabilities.mT**family.alpha * each).sum(dim=0)


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "gradnorm"])
def test_presets_equal_the_sum_over_classes(subject, name):
    found = family_score(prepared(subject), subject.inputs, PRESETS[name])
    torch.testing.assert_close(found, by_definition(subject, PRESETS[name]), rtol=1e-4, atol=1e-6)


def test_gradnorm_is_the_norm_of_one_uniform_gradient_with_its_sign_turned(subject):
    network = subject.network
    last = network[-1].weight.requires_grad_(), network[-1].bias.requires_grad_()
    norms = []
    for row in subject.inputs:
        loss = -network(row[None]).log_softmax(dim=1).mean()
        norms.append(sum(part.abs().sum() for part in torch.autograd.grad(loss, last)))
    network.requires_grad_(False)
    found = family_score(prepared(subject), subject.inputs, PRESETS["gradnorm"])
    weight = layer_weights(0, len(prepared(subject).layers))[-1]
    torch.testing.assert_close(found, -torch.stack(norms) * weight.float(), rtol=1e-4, atol=0)


def test_layer_weights_grow_exponentially_and_sum_to_one():
    weights = layer_weights(5.0, 8)
    torch.testing.assert_close(weights[1:] / weights[:-1], torch.full((7,), 5 / 8, dtype=torch.float64).exp())
    assert float(weights.sum()) == pytest.approx(1)
    assert layer_weights(0, 4).tolist() == [0.25] * 4


def test_without_decay_and_noise_it_is_plain_regrad_over_the_number_of_layers(subject):
    squares, _ = expected(subject, prepared(subject).layers)
    probabilities = subject.forward(subject.inputs).softmax(dim=1)
    plain = (probabilities.mT * squares.sum(dim=2)).sum(dim=0) / squares.shape[2]
    torch.testing.assert_close(family_score(prepared(subject), subject.inputs, Family()), plain, rtol=1e-4, atol=1e-6)


def test_noise_is_the_same_for_every_input_and_seed():
    family = Family(perturbations=3, sigma=0.1)
    images = torch.zeros(2, 3, 4, 4)
    rows = with_perturbed(images, family, seed=5)
    assert rows.shape == (2, 4, 3, 4, 4)
    assert torch.equal(rows[0], rows[1])
    assert torch.equal(rows[:, 0], images)
    assert torch.equal(rows, with_perturbed(images, family, seed=5))
    assert not torch.equal(rows, with_perturbed(images, family, seed=6))
    assert float(rows[:, 1:].std()) == pytest.approx(0.1, rel=0.2)


def test_averaged_gradients_are_not_averaged_scores(subject):
    gradients = prepared(subject)
    scores = {
        average: family_score(
            gradients, subject.inputs, Family(perturbations=4, sigma=0.5, average_gradients=average), seed=1
        )
        for average in (True, False)
    }
    copies = with_perturbed(subject.inputs, Family(perturbations=4, sigma=0.5), seed=1)
    each = torch.stack([family_score(gradients, copy, Family()) for copy in copies.unbind(1)])
    torch.testing.assert_close(scores[False], each.mean(dim=0), rtol=1e-4, atol=1e-6)
    # The norm of a mean is at most the mean of norms, and here the copies differ.
    assert bool((scores[True] < scores[False]).all())


@pytest.mark.parametrize(("q", "r"), [(3, 1), (2, 0)])
def test_other_norms_are_refused(q, r):
    with pytest.raises(ValueError, match="1 or 2"):
        Family(q=q, r=r)
