"""Labelled questions as the items that a language model is asked, in the order of the data."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from models.data.questions import AskedQuestion, QuestionDataset
from models.language.continuations import ChoiceItem
from models.language.multiple_choice import Question, asked_question


@dataclass(frozen=True)
class QuestionRows:
    """N rows by name."""

    names: tuple[str, ...]
    questions: tuple[AskedQuestion, ...]

    @classmethod
    def of(cls, data: QuestionDataset) -> Self:
        """All that are on offer."""
        return cls(data.names, tuple(data.questions(data.names)))

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def items(self) -> tuple[ChoiceItem, ...]:
        return tuple(map(asked_item, self.questions))

    @property
    def tasks(self) -> tuple[str | None, ...]:
        return tuple(question.task for question in self.questions)

    @property
    def labels(self) -> Tensor:
        """(N,) int64: the places of the right choices."""
        return torch.tensor([question.answer for question in self.questions])

    def named(self, names: Sequence[str]) -> Self:
        """The rows of these names."""
        places = {name: place for place, name in enumerate(self.names)}
        return self.take([places[name] for name in names])

    def take(self, places: Sequence[int]) -> Self:
        """The rows at these places."""
        names = tuple(self.names[place] for place in places)
        return type(self)(names, tuple(self.questions[place] for place in places))


def asked_item(question: AskedQuestion) -> ChoiceItem:
    """Without solved examples."""
    if not question.lettered:
        return ChoiceItem(question.text, question.choices)
    return asked_question(Question(question.text, question.choices, question.answer), question.subject)
