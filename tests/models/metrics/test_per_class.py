from dataclasses import astuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.metrics.per_class import class_figures, worst_classes
from tests.oracles import metrics_groups as oracle

ROWS = st.lists(
    st.tuples(st.lists(st.integers(-2, 2).map(float), min_size=4, max_size=4), st.integers(0, 3)),
    min_size=1,
    max_size=25,
)


@settings(deadline=None)
@given(rows=ROWS, bins=st.sampled_from([1, 5]))
def test_equals_the_definition(rows, bins):
    logits, labels = map(list, zip(*rows, strict=True))
    probabilities = torch.tensor(logits, dtype=torch.float64).softmax(dim=1)
    figures = class_figures(probabilities, torch.tensor(labels), bins=bins)
    expected = oracle.class_figures(probabilities.tolist(), labels, bins)
    assert [astuple(each) for each in figures] == [pytest.approx(each, abs=1e-9) for each in expected]
    assert sum(each.count for each in figures) == len(rows)


def test_few_rows_do_not_win_by_noise():
    """100 calibrated classes of three rows, and one of 200 rows that is right half as often as it says."""
    generator = torch.Generator().manual_seed(0)
    predicted = torch.cat([torch.arange(100).repeat(3), torch.full((200,), 100)])
    probabilities = torch.full((500, 101), 0.2 / 100, dtype=torch.float64)
    probabilities[torch.arange(500), predicted] = 0.8
    correct = torch.rand(500, generator=generator) < torch.where(predicted == 100, 0.4, 0.8)
    labels = torch.where(correct, predicted, (predicted + 1) % 101)
    worst, *others = worst_classes(class_figures(probabilities, labels))
    assert (worst.class_index, worst.count) == (100, 200)
    assert worst.gap == pytest.approx(0.4, abs=0.1)
    assert len(others) == 9
    assert any(abs(each.confidence - each.accuracy) > 0.4 for each in class_figures(probabilities, labels)[:100])


def test_no_class_is_named_where_chance_explains_the_gaps():
    generator = torch.Generator().manual_seed(1)
    probabilities = torch.full((400, 4), 0.1, dtype=torch.float64)
    probabilities[torch.arange(400), torch.arange(400) % 4] = 0.7
    labels = torch.multinomial(probabilities, 1, generator=generator)[:, 0]
    figures = class_figures(probabilities, labels)
    assert [each.gap for each in figures] == [0.0] * 4
    assert worst_classes(figures) == ()


def test_limit_and_order():
    probabilities = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]] * 20, dtype=torch.float64)
    figures = class_figures(probabilities, torch.tensor([1, 1, 1, 0] * 20))
    assert [each.class_index for each in worst_classes(figures)] == [0, 1]
    assert [each.class_index for each in worst_classes(figures, limit=1)] == [0]


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (torch.tensor([[2.0, -1.0]]), torch.tensor([0]), "softmax output"),
        (torch.tensor([[0.5, 0.5]]), torch.tensor([2]), r"0\.\.1"),
        (torch.tensor([[0.5, 0.5]]), torch.tensor([0, 1]), "lengths differ"),
    ],
)
def test_refuses_bad_input(probabilities, labels, message):
    with pytest.raises(ValueError, match=message):
        class_figures(probabilities, labels)
