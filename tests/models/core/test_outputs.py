import math

import pytest
import torch

from models.core.errors import MissingOutputError
from models.core.outputs import LinearHead, ModelOutputs

LOGITS = torch.tensor([[0.0, 1.0, 2.0], [3.0, 50.0, 3.0]])
MASK = torch.tensor([[True, True, True], [True, False, True]])


def test_an_absent_choice_has_probability_zero():
    outputs = ModelOutputs(LOGITS, mask=MASK)
    probabilities = outputs.log_probabilities().exp()
    total = 1 + math.e + math.e**2
    torch.testing.assert_close(
        probabilities, torch.tensor([[1 / total, math.e / total, math.e**2 / total], [0.5, 0.0, 0.5]])
    )


def test_calibrated_probabilities_use_the_same_choices():
    outputs = ModelOutputs(LOGITS, mask=MASK).with_calibrated(LOGITS * 2)
    assert torch.equal(outputs.calibrated_log_probabilities().exp()[1], torch.tensor([0.5, 0.0, 0.5]))
    assert torch.equal(outputs.logits, LOGITS)


def test_what_was_not_prepared_is_named():
    outputs = ModelOutputs(LOGITS)
    with pytest.raises(MissingOutputError, match="transform"):
        outputs.calibrated_log_probabilities()
    with pytest.raises(MissingOutputError, match="FEATURES"):
        outputs.require_features()


@pytest.mark.parametrize("part", ["calibrated", "features", "mask"])
def test_parts_have_the_rows_of_the_logits(part):
    with pytest.raises(ValueError, match=f"{part} has 3 rows, logits have 2"):
        ModelOutputs(LOGITS, **{part: torch.zeros(3, 3)})


def test_logits_are_a_table():
    with pytest.raises(ValueError, match=r"\(N, C\)"):
        ModelOutputs(torch.zeros(3))
    assert len(ModelOutputs(torch.zeros(0, 3))) == 0


def test_a_head_gives_the_logits_of_features():
    head = LinearHead(torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]), torch.tensor([0.0, 0.5, -1.0]))
    features = torch.tensor([[3.0, 4.0]])
    assert head.logits(features).tolist() == [[3.0, 8.5, 6.0]]
    assert ModelOutputs(head.logits(features), features=features, head=head).require_head() is head


def test_a_head_that_does_not_fit_is_refused():
    with pytest.raises(MissingOutputError, match=r"Needs\.HEAD"):
        ModelOutputs(LOGITS).require_head()
    with pytest.raises(ValueError, match=r"weight \(C, D\) and bias \(C,\)"):
        LinearHead(torch.zeros(3, 2), torch.zeros(2))
    with pytest.raises(ValueError, match="the head gives 4 classes, logits have 3"):
        ModelOutputs(LOGITS, head=LinearHead(torch.zeros(4, 2), torch.zeros(4)))


@pytest.mark.parametrize("rows", [torch.tensor([1]), torch.tensor([False, True])])
def test_some_items_keep_all_their_parts(rows):
    head = LinearHead(torch.zeros(3, 1), torch.zeros(3))
    outputs = ModelOutputs(LOGITS, LOGITS + 1, torch.tensor([[1.0], [2.0]]), MASK, head).take(rows)
    assert (outputs.logits.tolist(), outputs.calibrated.tolist()) == ([LOGITS[1].tolist()], [(LOGITS[1] + 1).tolist()])
    assert (outputs.features.tolist(), outputs.mask.tolist()) == ([[2.0]], [MASK[1].tolist()])
    assert outputs.head is head
    assert ModelOutputs(LOGITS).take(rows).features is None
