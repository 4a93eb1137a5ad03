import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss

from models.metrics.proper import accuracy, brier_score, negative_log_likelihood, row_losses
from tests.oracles import metrics as oracle

LOGIT = st.one_of(st.floats(-50, 50), st.integers(-1, 1).map(float), st.sampled_from([-1e4, 1e4]))
# (logits, labels) of 1..8 rows and 1..5 classes
CASES = st.integers(1, 5).flatmap(
    lambda classes: st.lists(
        st.tuples(st.lists(LOGIT, min_size=classes, max_size=classes), st.integers(0, classes - 1)),
        min_size=1,
        max_size=8,
    ).map(lambda rows: tuple(map(list, zip(*rows, strict=True))))
)
NAN, INF = float("nan"), float("inf")


@settings(deadline=None)
@given(case=CASES)
def test_scores_equal_the_definition(case):
    logits, labels = case
    probabilities = [oracle.softmax(row) for row in logits]
    logits_tensor, labels_tensor = torch.tensor(logits, dtype=torch.float64), torch.tensor(labels)

    assert negative_log_likelihood(logits_tensor, labels_tensor) == pytest.approx(
        oracle.negative_log_likelihood(logits, labels), rel=1e-12, abs=1e-12
    )
    assert brier_score(torch.tensor(probabilities, dtype=torch.float64), labels_tensor) == pytest.approx(
        oracle.brier_score(probabilities, labels), abs=1e-12
    )
    right = [guess == label for guess, label in zip(oracle.predicted(logits), labels, strict=True)]
    assert accuracy(logits_tensor, labels_tensor) == pytest.approx(sum(right) / len(right), abs=1e-12)


def test_likelihood_keeps_losses_that_float32_would_round_to_zero():
    assert negative_log_likelihood(torch.tensor([[30.0, 0.0]]), torch.tensor([0])) == pytest.approx(
        math.exp(-30), rel=1e-3
    )


def test_masked_choices_count_for_nothing():
    logits, labels = torch.tensor([[1.0, 2.0, -INF], [0.0, 3.0, 1.0]]), torch.tensor([0, 1])
    assert row_losses(logits, labels).tolist() == pytest.approx(
        [math.log(1 + math.e), math.log(1 + math.exp(-3) + math.exp(-2))]
    )


def test_brier_is_twice_the_two_class_form():
    chance = torch.tensor([0.1, 0.8, 0.35, 1.0], dtype=torch.float64)
    labels = torch.tensor([0, 1, 1, 0])
    both = torch.stack([1 - chance, chance], dim=1)
    assert brier_score(both, labels) == pytest.approx(2 * brier_score_loss(labels.numpy(), chance.numpy()))


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (torch.empty(0, 3), torch.empty(0, dtype=torch.int64), r"shape \(N, C\)"),
        (torch.tensor([0.5, 0.5]), torch.tensor([0, 1]), r"shape \(N, C\)"),
        (torch.tensor([[0.5, NAN]]), torch.tensor([0]), "NaN"),
        (torch.tensor([[0.5, INF]]), torch.tensor([0]), "infinity"),
        (torch.tensor([[-INF, -INF]]), torch.tensor([0]), "unmasked"),
        (torch.tensor([[0.5, 0.5]]), torch.tensor([0, 1]), "lengths differ"),
        (torch.tensor([[0.5, 0.5]]), torch.tensor([2]), r"0\.\.1"),
        (torch.tensor([[0.5, 0.5]]), torch.tensor([-1]), r"0\.\.1"),
        (torch.tensor([[0.5, 0.5]]), torch.tensor([1.0]), "call .long"),
        (torch.tensor([[0.5, 0.5]]), torch.tensor([[0, 1]]), "not one-hot"),
    ],
)
@pytest.mark.parametrize("measure", [negative_log_likelihood, brier_score, accuracy])
def test_refuses_bad_input(measure, scores, labels, message):
    with pytest.raises(ValueError, match=message):
        measure(scores, labels)


@pytest.mark.parametrize("scores", [[[0.5, 0.4]], [[1.5, -0.5]], [[2.0, -INF]]])
def test_brier_refuses_what_is_not_a_distribution(scores):
    with pytest.raises(ValueError, match="softmax output"):
        brier_score(torch.tensor(scores), torch.tensor([0]))


def test_likelihood_refuses_a_label_on_a_masked_choice():
    with pytest.raises(ValueError, match="correct the label"):
        negative_log_likelihood(torch.tensor([[0.0, -INF]]), torch.tensor([1]))
