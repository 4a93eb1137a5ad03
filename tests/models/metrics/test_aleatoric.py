import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from models.metrics.aleatoric import auroc_ood, crop_test, human_correlation
from tests.oracles import retrieval as oracle

DOUBLE = torch.float64
VALUE = st.one_of(st.integers(0, 2).map(float), st.floats(-1e3, 1e3))
VALUES = st.lists(VALUE, min_size=1, max_size=15)
COUNTS = st.tuples(*[st.integers(0, 3)] * 3).filter(any)  # of people who gave each of three classes


def vector(values):
    return torch.tensor(values, dtype=DOUBLE)


@settings(deadline=None)
@given(pairs=st.lists(st.tuples(VALUE, VALUE), min_size=1, max_size=15))
def test_crop_test_is_the_share_of_images_won(pairs):
    crop, image = map(list, zip(*pairs, strict=True))
    assert crop_test(vector(crop), vector(image)) == pytest.approx(oracle.crop_test(crop, image), abs=1e-12)


@settings(deadline=None)
@given(rows=st.lists(st.tuples(VALUE, COUNTS), min_size=2, max_size=15))
def test_human_correlation_is_that_of_ranks_with_the_entropy(rows):
    uncertainty, counts = map(list, zip(*rows, strict=True))
    # Shares of equal entropy in another order must come out equal to the last bit: sort them.
    shares = [sorted(count / sum(row) for count in row) for row in counts]
    assume(len(set(uncertainty)) > 1 and len({tuple(row) for row in shares}) > 1)
    found = human_correlation(vector(uncertainty), vector(shares))
    assert found == pytest.approx(oracle.human_correlation(uncertainty, shares), abs=1e-9)


@settings(deadline=None)
@given(u_in=VALUES, u_out=VALUES)
def test_auroc_ood_is_the_share_of_pairs_with_the_unknown_above(u_in, u_out):
    assert auroc_ood(vector(u_in), vector(u_out)) == pytest.approx(oracle.auroc_ood(u_in, u_out), abs=1e-12)


def test_signs():
    low, high = torch.tensor([0.1, 0.2]), torch.tensor([0.8, 0.2])
    assert crop_test(high, low) == 0.75
    assert auroc_ood(low, high) == 0.875
    doubt = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    assert human_correlation(torch.tensor([0.1, 0.9]), doubt) == pytest.approx(1)


def test_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="lengths differ"):
        crop_test(torch.ones(2), torch.ones(3))
    with pytest.raises(ValueError, match="softmax output"):
        human_correlation(torch.arange(2.0), torch.tensor([[3.0, 1.0], [0.0, 2.0]]))
    with pytest.raises(ValueError, match="constant"):
        human_correlation(torch.arange(2.0), torch.eye(2))
    with pytest.raises(ValueError, match="u_out must have shape"):
        auroc_ood(torch.ones(2), torch.ones(0))
