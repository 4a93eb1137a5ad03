import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from models.metrics.grouping import grouping_loss, partition_grouping_loss
from tests.oracles import metrics_groups as oracle

DOUBLE = torch.float64
# region, confidence and correct of each row
ROWS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.1, 0.3, 0.5, 0.9, 1.0]), st.booleans()), min_size=2)


@settings(deadline=None)
@given(rows=ROWS, bins=st.sampled_from([1, 2, 15]))
def test_equals_the_definition(rows, bins):
    regions, confidence, correct = map(list, zip(*rows, strict=True))
    arguments = torch.tensor(regions), torch.tensor(confidence, dtype=DOUBLE), torch.tensor(correct)
    cells = [(min(range(bins), key=lambda m: (c > (m + 1) / bins, m)), r) for r, c, _ in rows]
    assume(max(map(cells.count, cells)) > 1)
    expected = oracle.partition_grouping_loss(regions, confidence, correct, bins)
    assert partition_grouping_loss(*arguments, bins=bins) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("halves", [(0.9, 0.5), (0.7, 0.7)])
def test_finds_the_variance_of_the_true_probabilities(halves):
    """Calibrated at confidence 0.7, where a feature tells which half of the rows is right more often."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(6000, 4, generator=generator)
    high, low = halves
    probability = torch.where(features[:, 2] > 0, high, low)
    correct = torch.rand(6000, generator=generator) < probability
    loss = grouping_loss(features, torch.full((6000,), 0.7, dtype=DOUBLE), correct)
    assert loss == pytest.approx(2 * ((high - low) / 2) ** 2, abs=0.015)


def test_confidences_that_differ_within_a_bin_are_no_grouping_loss():
    generator = torch.Generator().manual_seed(0)
    confidence, chance = torch.rand(2, 8000, generator=generator, dtype=DOUBLE)
    regions = (confidence * 20).long()
    assert partition_grouping_loss(regions, confidence, chance < confidence, bins=2) == pytest.approx(0, abs=0.02)


def test_repeatable_and_follows_the_seed():
    generator = torch.Generator().manual_seed(0)
    features, confidence = torch.randn(300, 3, generator=generator), torch.rand(300, generator=generator, dtype=DOUBLE)
    first, again, other = (grouping_loss(features, confidence, features[:, 0] > 0, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(
    ("features", "rows", "message"),
    [
        (torch.ones(3), 3, r"features must have shape \(N, D\)"),
        (torch.ones(3, 2), 4, "lengths differ"),
        (torch.full((3, 2), torch.nan), 3, "NaN"),
        (torch.ones(2, 1), 2, "no region holds two rows"),
    ],
)
def test_refuses_bad_input(features, rows, message):
    with pytest.raises(ValueError, match=message):
        grouping_loss(features, torch.ones(rows), torch.ones(rows, dtype=torch.bool))
