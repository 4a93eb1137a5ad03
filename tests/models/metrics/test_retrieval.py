import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from models.metrics import retrieval
from models.metrics.retrieval import nearest_is_right, r_auroc, recall_at_1, safe_retrieval
from tests.oracles import retrieval as oracle

DOUBLE = torch.float64
# Small integers make equal cosines; a row of zeros has no direction and is left out.
FEATURES = st.tuples(*[st.integers(-3, 3).map(float)] * 3).filter(any)
ROWS = st.lists(st.tuples(FEATURES, st.integers(0, 2), st.integers(0, 4).map(float)), min_size=2, max_size=12)


def columns(rows):
    features, labels, uncertainty = map(list, zip(*rows, strict=True))
    return torch.tensor(features, dtype=DOUBLE), torch.tensor(labels), torch.tensor(uncertainty)


@settings(deadline=None)
@given(rows=ROWS, chunk=st.integers(1, 13))
def test_the_nearest_is_that_of_the_definition_whatever_the_chunk(rows, chunk):
    features, labels, _ = columns(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "CHUNK", chunk)
        right = nearest_is_right(features, labels)
    possible = oracle.possible_outcomes(features.tolist(), labels.tolist())
    assert all(found in outcomes for found, outcomes in zip(right.tolist(), possible, strict=True))
    assert recall_at_1(features, labels) == pytest.approx(nearest_is_right(features, labels).double().mean())


@settings(deadline=None)
@given(rows=ROWS)
def test_r_auroc_is_the_share_of_pairs_in_order(rows):
    features, labels, uncertainty = columns(rows)
    right = nearest_is_right(features, labels).tolist()
    assume(0 < sum(right) < len(right))
    expected = oracle.r_auroc(right, uncertainty.tolist())
    assert r_auroc(features, labels, uncertainty) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(rows=ROWS, drop=st.sampled_from([0.0, 0.1, 0.25, 0.5]))
def test_safe_retrieval_is_recall_without_the_uncertain_rows_of_each_class(rows, drop):
    features, labels, uncertainty = columns(rows)
    kept = oracle.certain_rows(labels.tolist(), uncertainty.tolist(), drop)
    assume(len(kept) >= 2)
    found = safe_retrieval(features, labels, uncertainty, drop)
    assert found == recall_at_1(features[kept], labels[kept])


def test_a_row_that_misleads_others_is_dropped_from_database_and_queries():
    # Two classes along two axes, and one row of the first that lies among the second.
    features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, -0.1], [0.0, 1.0], [0.2, 1.0], [0.01, 1.0]])
    labels = torch.tensor([0, 0, 0, 1, 1, 0])
    uncertainty = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.4, 0.9])
    assert nearest_is_right(features, labels).tolist() == [True, True, True, False, False, False]
    assert r_auroc(features, labels, uncertainty) == 1
    assert r_auroc(features, labels, -uncertainty) == 0
    assert safe_retrieval(features, labels, uncertainty) == 1


def test_only_directions_count_and_a_row_alone_in_its_class_is_wrong():
    features = torch.tensor([[1.0, 0.0], [100.0, 1.0], [0.9, 0.3], [0.0, 5.0]])
    labels = torch.tensor([0, 0, 1, 2])
    assert nearest_is_right(features, labels).tolist() == [True, True, False, False]


def test_gives_the_same_for_network_precision_and_many_chunks():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2500, 8, generator=generator)
    labels = torch.randint(0, 3, (2500,), generator=generator)
    features[:, 0] += 2 * labels
    expected = nearest_is_right(features.double(), labels)
    assert torch.equal(nearest_is_right(features, labels), expected)
    assert 0.5 < float(expected.double().mean()) < 1


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (torch.ones(1, 2), torch.zeros(1, dtype=torch.long), "N >= 2"),
        (torch.ones(3), torch.zeros(3, dtype=torch.long), "N >= 2"),
        (torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.zeros(2, dtype=torch.long), "length 0"),
        (torch.tensor([[torch.nan, 0.0], [1.0, 0.0]]), torch.zeros(2, dtype=torch.long), "NaN"),
        (torch.ones(3, 2), torch.zeros(2, dtype=torch.long), "lengths differ"),
        (torch.ones(2, 2), torch.zeros(2), "integers"),
    ],
)
@pytest.mark.parametrize(
    "measure",
    [
        recall_at_1,
        lambda features, labels: r_auroc(features, labels, torch.ones(len(features))),
        lambda features, labels: safe_retrieval(features, labels, torch.ones(len(features))),
    ],
)
def test_refuses_rows_without_a_nearest_one(measure, features, labels, message):
    with pytest.raises(ValueError, match=message):
        measure(features, labels)


@pytest.mark.parametrize(("labels", "message"), [([0, 0, 0], "no negative row"), ([0, 1, 2], "no positive row")])
def test_r_auroc_needs_right_and_wrong_rows(labels, message):
    with pytest.raises(ValueError, match=message):
        r_auroc(torch.eye(3) + 0.1, torch.tensor(labels), torch.arange(3.0))


@pytest.mark.parametrize("drop", [-0.1, 1.0])
def test_safe_retrieval_refuses_a_share_that_leaves_nothing(drop):
    with pytest.raises(ValueError, match="a share in"):
        safe_retrieval(torch.eye(2), torch.zeros(2, dtype=torch.long), torch.ones(2), drop)
