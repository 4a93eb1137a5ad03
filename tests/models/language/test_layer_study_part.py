"""A part's answers under changes after the last layer, from the streams on record, against a pass with the changes."""

import pytest
import torch

from models.language.continuations import ChoiceItem
from models.language.direction import CalibrationDirection, control_edits, edited_outputs
from models.language.layer_study_part import AskedPart, Progress, ReadPart
from models.language.multiple_choice import letters

ITEMS = [ChoiceItem(f"The sea is {'blue ' * number}Answer:", letters(2 + number % 3)) for number in range(6)]
DIRECTION = CalibrationDirection(torch.nn.functional.normalize(torch.arange(32.0), dim=0), 1.0, torch.full((4,), 3.0))
CHANGES = control_edits(DIRECTION, layer=4, step=0.3, seed=0)


@pytest.mark.parametrize("name", CHANGES)
def test_changes_of_the_last_stream_on_record_give_what_a_pass_with_them_gives(tiny, name):
    progress = Progress(lambda share, what: None, tokens=1)
    part = ReadPart.of(tiny, AskedPart.of(tiny, ITEMS, torch.zeros(6, dtype=torch.int64)), progress, "reading")
    expected = edited_outputs(tiny, part.asked.questions, 4, CHANGES[name])
    for answers, passed in zip(part.answers_under(4, CHANGES[name], progress, ""), expected, strict=True):
        assert torch.allclose(answers.log_probabilities(), passed.log_probabilities(), atol=1e-4)
