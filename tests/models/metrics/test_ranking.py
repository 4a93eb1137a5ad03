import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from torchmetrics.functional.classification import binary_auroc

from models.metrics.ranking import auroc, spearman
from tests.oracles import metrics as oracle

# Small integers make ties; -0.0 and 0.0 must tie as well.
SCORE = st.one_of(st.integers(-2, 2).map(float), st.floats(-1e6, 1e6), st.just(-0.0))
DOUBLE = torch.float64
FLAGS = torch.tensor([True, False])


@settings(deadline=None)
@given(rows=st.lists(st.tuples(SCORE, st.booleans()), min_size=2, max_size=25))
def test_auroc_is_the_share_of_pairs_in_order(rows):
    score, positive = map(list, zip(*rows, strict=True))
    assume(0 < sum(positive) < len(positive))
    drawn = auroc(torch.tensor(score, dtype=DOUBLE), torch.tensor(positive))
    assert drawn == pytest.approx(oracle.auroc(score, positive), abs=1e-12)
    assert drawn == pytest.approx(roc_auc_score(positive, score), abs=1e-12)


def test_auroc_agrees_with_torchmetrics_on_probabilities():
    generator = torch.Generator().manual_seed(0)
    positive = torch.rand(300, generator=generator) < 0.3
    score = (torch.rand(300, generator=generator, dtype=DOUBLE) * 20 + 2 * positive).round() / 25
    assert auroc(score, positive) == pytest.approx(float(binary_auroc(score, positive.long())), abs=1e-6)


def test_auroc_tells_large_float32_scores_apart():
    assert auroc(torch.tensor([40.0, 30.0]), FLAGS) == 1.0


@settings(deadline=None)
@given(rows=st.lists(st.tuples(SCORE, SCORE), min_size=2, max_size=25))
def test_spearman_is_the_correlation_of_ranks(rows):
    a, b = map(list, zip(*rows, strict=True))
    assume(len(set(a)) > 1 and len(set(b)) > 1)
    drawn = spearman(torch.tensor(a, dtype=DOUBLE), torch.tensor(b, dtype=DOUBLE))
    assert drawn == pytest.approx(oracle.spearman(a, b), abs=1e-12)
    assert drawn == pytest.approx(spearmanr(a, b).statistic, abs=1e-9)


def test_spearman_of_many_ties_does_not_overflow():
    half = torch.arange(200_000) >= 100_000
    assert spearman(half, half) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(
    ("score", "positive", "message"),
    [
        (torch.empty(0), torch.empty(0, dtype=torch.bool), "one value per row"),
        (torch.ones(3), FLAGS, "lengths differ"),
        (torch.tensor([1.0, float("nan")]), FLAGS, "NaN"),
        (torch.ones(2), torch.ones(2), "bool tensor"),
        (torch.ones(2), torch.tensor([True, True]), "no negative row"),
        (torch.ones(2), torch.tensor([False, False]), "no positive row"),
    ],
)
def test_auroc_refuses_bad_input(score, positive, message):
    with pytest.raises(ValueError, match=message):
        auroc(score, positive)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (torch.empty(0), torch.empty(0), "one value per row"),
        (torch.ones(3), torch.ones(2), "lengths differ"),
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, float("inf")]), "b contains NaN or infinity"),
        (torch.tensor([1.0, 2.0]), torch.tensor([3.0, 3.0]), "constant"),
        (torch.tensor([1.0]), torch.tensor([1.0]), "constant"),
    ],
)
def test_spearman_refuses_bad_input(a, b, message):
    with pytest.raises(ValueError, match=message):
        spearman(a, b)
