"""Which of the prompts that wait go through the network together."""

import numpy as np
import pytest

from app.scoring.prompt_predictor import PromptWork
from app.scoring.token_budget import fitting
from models.core.prompt_spec import Readout
from models.language.continuations import EncodedItem


def works(*prompts, choices=2):
    """Of prompts as tokens, each with so many tokens of choices."""
    return [
        PromptWork(
            predictor=None,
            item=EncodedItem((" A", " B"), ()),
            tokens=len(prompt) + choices,
            prompt=np.array(prompt, np.int64),
            readout=Readout.TEXT,
            task=None,
            scores=(),
            top_k=1,
            cheap=True,
        )
        for prompt in prompts
    ]


@pytest.mark.parametrize(("budget", "expected"), [(1, 1), (9, 1), (10, 2), (14, 2), (15, 3), (1000, 3)])
def test_as_many_as_the_budget_has_room_for(budget, expected):
    assert fitting(works([1, 2, 3], [4, 5, 6], [7, 8, 9]), budget) == expected


def test_one_longer_than_the_budget_goes_alone():
    assert fitting(works(range(100), [1]), 50) == 1
    assert fitting(works([1], range(5, 100)), 50) == 1
    assert fitting([], 50) == 0


def test_a_common_beginning_counts_once():
    shots = list(range(20))
    questions = works(*([*shots, 100 + number] for number in range(10)), choices=0)
    assert fitting(questions, 24) == 4
    assert fitting(works(shots, shots, shots, choices=0), 20) == 3
    assert fitting(works(shots, shots[:10], shots, choices=0), 20) == 2
