"""The record of a loss-rank head: figures of known rows, and what cannot be said of some."""

import json
from dataclasses import replace

import pytest
import torch

from models.core.method import Dimensions
from models.core.outputs import ModelOutputs
from models.training.loss_rank_report import JudgedRows, judged_rows, loss_rank_record
from models.uncertainty.loss_rank import LossRank, initial_state
from tests.oracles import metrics as oracle

WRONG = torch.tensor([False, False, True, False, True, True])
RIGHT = torch.tensor([True, True, True, False, False, True])  # the nearest row
LOSSES = torch.tensor([0.1, 0.3, 0.2, 0.5, 0.9, 0.8])
RISING = torch.arange(6.0)


def judged(new=RISING, wrong=WRONG, right=RIGHT, losses=LOSSES):
    return JudgedRows(losses, wrong, right, {"loss_rank": new, "entropy": -RISING})


@pytest.fixture
def outputs():
    generator = torch.Generator().manual_seed(0)
    logits, features = torch.randn(40, 3, generator=generator), torch.randn(40, 5, generator=generator)
    return ModelOutputs(logits, calibrated=logits / 2, features=features)


@pytest.fixture
def heads():
    untrained = [LossRank(Dimensions(3, 5), width=8, depth=1) for _ in range(2)]
    states = [initial_state(each, torch.Generator().manual_seed(seed)) for seed, each in enumerate(untrained)]
    return [each.load_state(state) for each, state in zip(untrained, states, strict=True)]


def test_figures_of_six_rows():
    found = loss_rank_record(judged(), "float32", 0)
    assert (found["rows"], found["wrong"], found["constant"]) == (6, 3, False)
    assert found["recall_at_1"] == pytest.approx(4 / 6)
    figures = found["scores"]["loss_rank"]
    assert figures["spearman"]["value"] == pytest.approx(oracle.spearman(RISING.tolist(), LOSSES.tolist()))
    assert figures["auroc"]["value"] == pytest.approx(8 / 9)
    assert figures["r_auroc"]["value"] == pytest.approx(6 / 8)
    assert figures["aurc"] == pytest.approx((0 + 0 + 1 / 3 + 1 / 4 + 2 / 5 + 3 / 6) / 6)
    for measure in ("spearman", "auroc", "r_auroc"):
        assert figures[measure]["low"] < figures[measure]["value"] <= figures[measure]["high"] <= 1
    assert found["scores"]["entropy"]["r_auroc"]["value"] == pytest.approx(2 / 8)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_collapsed_head_is_told_and_has_no_information():
    found = loss_rank_record(judged(new=torch.ones(6)), "float32", 0)
    assert found["constant"]
    figures = found["scores"]["loss_rank"]
    assert [figures[name]["value"] for name in ("spearman", "auroc", "r_auroc")] == [0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"wrong": torch.zeros(6, dtype=torch.bool)}, "auroc"),
        ({"wrong": torch.ones(6, dtype=torch.bool)}, "auroc"),
        ({"right": torch.ones(6, dtype=torch.bool)}, "r_auroc"),
        ({"right": None}, "r_auroc"),
        ({"losses": torch.ones(6)}, "spearman"),
    ],
)
def test_what_the_rows_do_not_have_is_none(given, missing):
    figures = loss_rank_record(judged(**given), "float32", 0)["scores"]["loss_rank"]
    assert [name for name, value in figures.items() if value is None] == [missing]


def test_rows_are_judged_by_the_networks_own_loss_and_the_answer_that_would_be_given(outputs, heads):
    labels = torch.arange(40) % 3
    calibrated = outputs.with_calibrated(outputs.logits.roll(1, dims=1))  # another answer than the network's own
    found = judged_rows(calibrated, labels, heads[0], serving=heads[1])
    expected = oracle.negative_log_likelihood(outputs.logits.tolist(), labels.tolist())
    assert float(found.losses.mean()) == pytest.approx(expected, rel=1e-6)
    assert torch.equal(found.wrong, calibrated.calibrated.argmax(dim=1) != labels)
    assert list(found.scores) == ["loss_rank", "serving", "entropy", "max_prob"]
    assert torch.equal(found.scores["loss_rank"], heads[0].score(outputs))
    assert torch.equal(found.scores["serving"], heads[1].score(outputs))
    assert "serving" not in judged_rows(calibrated, labels, heads[0]).scores


def test_rows_that_are_each_alone_in_their_class_have_no_recall(outputs, heads):
    some = outputs.take(torch.arange(3))
    found = judged_rows(some, torch.arange(3), heads[0])
    assert found.neighbour_right is None
    assert loss_rank_record(found, "float32", 0)["recall_at_1"] is None


def test_features_of_length_0_have_no_neighbour(outputs, heads):
    features = outputs.require_features().clone()
    features[1] = 0
    labels = torch.zeros(len(outputs), dtype=torch.int64)
    assert judged_rows(replace(outputs, features=features), labels, heads[0]).neighbour_right is None
