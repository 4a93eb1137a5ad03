"""What the language benchmarks compute of their own: the plain ways, the questions, the comparison."""

import pytest
import torch

from models.language.continuations import ChoiceItem
from models.language.multiple_choice import letters
from tests.benchmarks.language import comparison
from tests.benchmarks.language.choices import LOOP, WAYS, timed
from tests.benchmarks.language.mmlu import Asked, asked, some_subjects
from tests.models.language.tiny_model import tiny, tiny_folder, tiny_source

__all__ = ["tiny", "tiny_folder", "tiny_source"]

ITEMS = [ChoiceItem(f"The sea is {'blue ' * number}Answer:", letters(4)) for number in range(10)]
ASKED = Asked(ITEMS, torch.arange(10) % 4, ["sea"] * 10)


@pytest.mark.parametrize("name", sorted(WAYS.keys() - {LOOP}))
def test_every_way_gives_the_answers_of_the_loop(tiny, name):
    expected = timed(WAYS[LOOP], tiny, ASKED).answers
    assert torch.allclose(timed(WAYS[name], tiny, ASKED).answers, expected, atol=1e-4)


@pytest.mark.data
def test_questions_have_five_solved_ones_of_their_subject_before_them():
    (subject,) = some_subjects(1)
    found = asked("mmlu_val", [subject], 3)
    assert len(found.items) == len(found.labels) == 3
    for item in found.items:
        assert item.prompt.startswith("The following are multiple choice questions (with answers) about")
        assert item.prompt.count("\nAnswer:") == 6
        assert item.prompt.endswith("\nAnswer:")


def test_the_gain_is_the_random_directions_ece_less_the_direction_s():
    sure, right = torch.full((50,), 0.9), torch.ones(50, dtype=torch.bool)
    judged = {
        comparison.DIRECTION: [comparison.Judged(sure, right)],
        comparison.RANDOM: [comparison.Judged(torch.full((50,), each), right) for each in (0.5, 0.7)],
    }
    assert comparison.gain(judged).value == pytest.approx(0.3, abs=1e-6)
