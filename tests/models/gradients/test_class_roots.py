"""Turned class gradients against the matrices of the definition."""

import pytest
import torch

from models.gradients.class_roots import Reflection, cotangents, root_gram, rotations

PROBABILITIES = torch.randn(5, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64).softmax(dim=2)


def roots(probabilities):
    """R = diag(√p) - √p p', row c the cotangent of √p_c log p_c."""
    return torch.diag(probabilities.sqrt()) - probabilities.sqrt()[:, None] * probabilities


def test_the_closed_form_is_the_product_of_the_roots():
    for row, found in zip(PROBABILITIES[:, 0], root_gram(PROBABILITIES[:, 0]), strict=True):
        torch.testing.assert_close(found, roots(row) @ roots(row).mT, rtol=1e-12, atol=1e-14)


def test_eigenvalues_are_those_of_the_fisher_matrix_largest_first():
    values, _ = rotations(PROBABILITIES[:, 0])
    for row, found in zip(PROBABILITIES[:, 0], values, strict=True):
        fisher = torch.diag(row) - row[:, None] * row
        expected = torch.linalg.eigvalsh(fisher).flip(0).clamp_min(0)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("copies", [1, 3])
def test_turned_gradients_have_the_norm_of_the_class_gradients(copies):
    some = PROBABILITIES[:, :copies]
    jacobian = torch.randn(copies, 6, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    _, rotation = rotations(some)
    sent = torch.stack([cotangents(rotation[:, place], some) for place in range(6)])  # (C, N, copies, C)
    found = torch.einsum("knlc,lcw->knw", sent, jacobian).square().sum(dim=(0, 2))
    for sample, each in zip(some, found, strict=True):
        vectors = sum(roots(copy) @ part for copy, part in zip(sample, jacobian, strict=True))
        torch.testing.assert_close(each, vectors.square().sum(), rtol=1e-10, atol=0)


def test_the_first_directions_hold_the_most():
    values, rotation = rotations(PROBABILITIES[:, 0])
    lengths = torch.stack([cotangents(rotation[:, place], PROBABILITIES[:, 0]) for place in range(6)]).square().sum(2)
    torch.testing.assert_close(lengths.mT, values, rtol=1e-10, atol=1e-14)


def test_a_reflection_is_orthogonal_and_its_last_row_is_along_the_root():
    probabilities = PROBABILITIES[:, 0]
    basis = Reflection(probabilities)
    rows = torch.stack([basis.row(place) for place in range(6)], dim=1)
    torch.testing.assert_close(rows @ rows.mT, torch.eye(6, dtype=torch.float64).expand(5, 6, 6), rtol=0, atol=1e-14)
    torch.testing.assert_close(rows[:, -1].abs(), probabilities.sqrt(), rtol=1e-12, atol=0)
    assert cotangents(rows[:, -1], probabilities).abs().max() < 1e-15
