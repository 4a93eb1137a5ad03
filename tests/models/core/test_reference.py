import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.core.errors import CheckpointError
from models.core.reference import LARGEST, Reference
from tests.oracles import uncertainty as oracle

# Whole numbers make ties, which is where "lower" and "not higher" differ.
SCORE = st.one_of(st.floats(-100, 100, width=32), st.integers(-3, 3).map(float))
SCORES = st.lists(SCORE, min_size=1, max_size=60)


@settings(deadline=None)
@given(reference=SCORES, scores=SCORES)
def test_percentile_counts_the_lower_scores(reference, scores):
    found = Reference.fit(torch.tensor(reference)).percentile(torch.tensor(scores))
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx([oracle.percentile(reference, value) for value in scores], abs=1e-6)


def test_a_large_set_is_thinned_and_keeps_its_percentiles():
    scores = torch.randn(50_000, generator=torch.Generator().manual_seed(0)).exp()
    reference = Reference.fit(scores)
    assert len(reference.values) == LARGEST
    assert (reference.values[0], reference.values[-1]) == (scores.min(), scores.max())
    asked = scores[:200]
    exact = (scores[None] < asked[:, None]).float().mean(dim=1)
    assert (reference.percentile(asked) - exact).abs().max() < 0.002


def test_a_stored_reference_is_the_same():
    reference = Reference.fit(torch.tensor([3.0, 1.0, 2.0]))
    assert torch.equal(Reference.load(reference.values).values, torch.tensor([1.0, 2.0, 3.0]))


@pytest.mark.parametrize("scores", [torch.empty(0), torch.ones(2, 2), torch.tensor([1.0, float("nan")])])
def test_fit_refuses_what_has_no_order(scores):
    with pytest.raises(ValueError, match="finite scores"):
        Reference.fit(scores)


@pytest.mark.parametrize(
    "values",
    [torch.empty(0), torch.ones(2, 2), torch.tensor([2.0, 1.0]), torch.tensor([1.0, float("nan"), 2.0])],
    ids=["empty", "table", "descending", "nan"],
)
def test_load_refuses_a_damaged_reference(values):
    with pytest.raises(CheckpointError, match="ascending"):
        Reference.load(values)
