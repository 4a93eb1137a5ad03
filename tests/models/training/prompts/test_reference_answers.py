"""Which prompt a row is asked as where its choices are not shown, and what its answer is."""

import pytest

from models.data.questions import AskedQuestion
from models.training.prompts.reference_answers import free_form

CHOICES = (" blue ", "green")


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (AskedQuestion("Which? ", CHOICES, 0, None, lettered=True), ("Which?\nAnswer:", " blue")),
        (AskedQuestion("It is", CHOICES, 1, None, lettered=False), ("It is", "green")),
        (AskedQuestion("It is", (" so.",), 0, None, lettered=False), ("It is", " so.")),
    ],
)
def test_the_right_choice_is_the_answer(question, expected):
    assert free_form(question) == expected
