import math

import pytest
import torch

from models.core.errors import MissingOutputError
from models.core.outputs import ModelOutputs

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
