"""Scores of other libraries against their definitions written out."""

import math

import pytest
import torch

from models.language.continuations import ChoiceItem
from models.language.multiple_choice import letters
from tests.benchmarks.language import parts
from tests.benchmarks.language.baselines import BASELINES, P_TRUE, TOP, NextToken, p_true
from tests.models.language.tiny_model import tiny, tiny_folder, tiny_source
from tests.oracles.language import token_log_probabilities

__all__ = ["tiny", "tiny_folder", "tiny_source"]


def by_hand(log_probabilities, answer):
    chances = sorted((math.exp(each) for each in log_probabilities), reverse=True)
    count = len(chances)
    return [
        -log_probabilities[answer],
        -sum(p * math.log(p) for p in chances),
        -sum(math.log(1 / count / p) / count for p in chances),
        -(1 + sum(p * math.log(p) for p in chances[:TOP]) / math.log(TOP)),
        chances[1] - chances[0],
    ]


def test_scores_are_those_of_their_definitions():
    table = torch.randn(6, 40, generator=torch.Generator().manual_seed(0)).mul(2).log_softmax(dim=1)
    answers = table.argmax(dim=1)
    found = torch.stack([score(NextToken(table, answers)) for score in BASELINES.values()], dim=1)
    for row, log_probabilities, answer in zip(found.tolist(), table.tolist(), answers.tolist(), strict=True):
        assert row == pytest.approx(by_hand(log_probabilities, answer), abs=1e-5)


def test_the_model_is_asked_whether_its_own_answer_is_true(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "BUILD", tmp_path)
    items = [ChoiceItem(f"The sea is {'blue ' * number}Answer:", letters(2)) for number in range(3)]
    as_is, against = p_true(tiny, items, [" A", " B", " A"]).values()
    for number, (item, answer) in enumerate(zip(items, (" A", " B", " A"), strict=True)):
        prompt = tiny.encode(P_TRUE.format(question=item.prompt, answer=answer))
        ends = [tiny.encode_more(text)[0] for text in ("True", " True", " False")]
        plain, true, false = (token_log_probabilities(tiny.network, [*prompt, end], len(prompt))[0] for end in ends)
        assert float(as_is[number]) == pytest.approx(-plain, abs=1e-4)
        assert float(against[number]) == pytest.approx(math.log1p(math.exp(false - true)), abs=1e-4)
