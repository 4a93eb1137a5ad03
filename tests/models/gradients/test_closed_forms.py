"""Identities that need no built gradient."""

import pytest
import torch
from torch import nn

from models.gradients.class_gradients import ClassGradients
from models.gradients.family import PRESETS, Family, family_score
from models.gradients.last_layer import FisherDiagonal
from models.gradients.layers import find_layers
from tests.models.gradients.architectures import SUBJECTS
from tests.models.gradients.measured import expected, prepared


def test_a_linear_head_has_the_scores_of_its_closed_forms():
    torch.manual_seed(0)
    head = nn.Linear(6, 5).double()
    features = torch.randn(7, 6, dtype=torch.float64)
    gradients = ClassGradients(head, find_layers(head, lambda: head(features)), head)
    spread = 1 - head(features).softmax(dim=1).square().sum(dim=1)
    regrad = (1 + features.square().sum(dim=1)) * spread
    torch.testing.assert_close(family_score(gradients, features, PRESETS["regrad"]), regrad, rtol=1e-6, atol=0)
    exgrad = 2 * (1 + features.abs().sum(dim=1)) * spread
    torch.testing.assert_close(family_score(gradients, features, PRESETS["exgrad"]), exgrad, rtol=1e-6, atol=0)


def test_regrad_without_layer_weights_is_the_fisher_trace_by_sampled_labels():
    subject = SUBJECTS["mlp"]()
    gradients = prepared(subject)
    layers = len(gradients.layers)
    scores = layers * family_score(gradients, subject.inputs, Family(decay=0))
    squares = expected(subject, gradients.layers)[0].sum(dim=2)  # ||grad log p_y||^2 of label y
    labels = torch.multinomial(subject.forward(subject.inputs).softmax(dim=1), 20_000, replacement=True)
    sampled = squares.gather(0, labels.T)
    error = sampled.std(dim=0) / 20_000**0.5
    assert ((scores - sampled.mean(dim=0)).abs() < 4 * error).all()


@pytest.mark.parametrize("rest", [1.0, 1e-3, 1e-9])
def test_the_fisher_diagonal_of_features_by_its_definition_even_where_the_network_is_certain(rest):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(6, 4, dtype=torch.float64, generator=generator)
    others = rest * torch.rand(3, 6, dtype=torch.float64, generator=generator)
    certain = others.index_fill(1, torch.tensor([2]), 0)
    certain[:, 2] = 1 + rest
    probabilities = certain / certain.sum(dim=1, keepdim=True)
    expected = []
    for p in probabilities:
        gradients = weight - (p[:, None] * weight).sum(dim=0)  # of log p_c with respect to the features
        expected.append((p[:, None] * gradients.square()).sum(dim=0))
    found = FisherDiagonal(weight.float()).of(probabilities)
    torch.testing.assert_close(found.double(), torch.stack(expected), rtol=1e-4, atol=0)
