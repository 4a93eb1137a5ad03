"""Norms of factored gradients against those of the same gradients, built."""

import pytest
import torch

from models.gradients.joined import joined
from models.gradients.looked_up import looked_up
from models.gradients.terms import BUILT, Direct, Inputs, Outer


def outer(samples=3, groups=1, positions=4, width=5, reads=6, **options):
    torch.manual_seed(positions)
    outputs = torch.randn(samples, groups, positions, width, dtype=torch.float64)
    return Outer(outputs, Inputs(torch.randn(samples, groups, positions, reads, dtype=torch.float64)), **options)


def check(term):
    built = term.gradients()
    torch.testing.assert_close(term.square_norms(), built.square().sum(dim=1), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(term.absolute_norms(), built.abs().sum(dim=1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 2, 30, 40), (2, 9, 3, 4), (3, 1, 5, 6)])
def test_gram_form_and_direct_form_agree(shape):
    term = outer(3, *shape)
    torch.testing.assert_close(term.gram_norms(), term.direct_norms(), rtol=1e-12, atol=1e-12)
    check(term)


def test_large_gradients_are_built_a_few_samples_at_a_time():
    term = outer(samples=3, positions=2, width=1024, reads=BUILT // 8 // 1024 - 8)
    check(term)


def test_uses_of_one_parameter_add_up_whatever_their_form():
    ids = torch.tensor([[1, 1, 3], [0, 4, 0], [2, 2, 2]])
    embedding = looked_up(ids, torch.randn(3, 3, 6, dtype=torch.float64), 5)
    again = looked_up(ids.flip(0), torch.randn(3, 3, 6, dtype=torch.float64), 5)
    direct = Direct(torch.randn(3, 5, 6, dtype=torch.float64))
    uses = [
        [outer(), outer(positions=2)],
        [embedding, again],
        [outer(), embedding, again, outer(positions=1)],
        [outer(), outer(positions=2, width=6, reads=5, transposed=True)],
        [embedding, direct],
    ]
    for terms in uses:
        term = joined(terms)
        check(term)
        torch.testing.assert_close(term.gradients(), sum(use.gradients() for use in terms))


def test_a_row_that_is_looked_up_twice_gets_the_sum():
    term = looked_up(torch.tensor([[2, 0, 2]]), torch.tensor([[[1.0, 2.0], [3.0, 4.0], [10.0, 20.0]]]), 4)
    assert term.gradients().tolist() == [[3, 4, 0, 0, 11, 22, 0, 0]]
    assert term.absolute_norms().tolist() == [40]
