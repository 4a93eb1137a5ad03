"""One part of a layer study: its questions, what the network does after each layer for them, and answers under changes.

All of that are long passes over all tokens, so each of them tells how far it is.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from models.core.errors import DataError
from models.core.outputs import ModelOutputs
from models.language import anatomy
from models.language.causal_lm import CausalLM
from models.language.continuations import ChoiceItem
from models.language.direction import edited_outputs
from models.language.edits import Edits
from models.language.layers import LayerFigures, layer_curve, layer_outputs, layer_states, stream
from models.language.next_token import NextTokenQuestions, answer_outputs, next_token_questions

Told = Callable[[float, str], None]


class Progress:
    """Tells the share of `tokens` that have gone through the network; what `told` raises ends the pass."""

    def __init__(self, told: Told, tokens: int) -> None:
        self.told = told
        self.tokens = tokens
        self.done = 0

    @contextmanager
    def of(self, model: CausalLM, what: str) -> Iterator[None]:
        def count(_block: Any, _inputs: Any, output: Any) -> None:
            self.done += stream(output).shape[1]
            self.told(min(1.0, self.done / self.tokens), what)

        handle = anatomy.blocks(model.network)[0].register_forward_hook(count)
        try:
            yield
        finally:
            handle.remove()


@dataclass(frozen=True, slots=True)
class AskedPart:
    """Questions and the places (N,) int64 of their right choices."""

    questions: NextTokenQuestions
    labels: Tensor

    @classmethod
    def of(cls, model: CausalLM, items: Sequence[ChoiceItem], labels: Tensor) -> Self:
        """Raises DataError for an item whose choices are not one token each, or for a label that is none of them."""
        if labels.shape != (len(items),):
            raise ValueError(f"{len(items)} items need as many labels, got {tuple(labels.shape)}")
        questions = next_token_questions(model, items)
        for number, (label, tokens) in enumerate(zip(labels.tolist(), questions.tokens, strict=True)):
            if not 0 <= label < len(tokens):
                raise DataError(f"item {number}: label {label} is none of its {len(tokens)} choices")
        return cls(questions, labels)

    def tokens_under(self, changes: int) -> int:
        """How many tokens a pass with so many changes at once has, about: equal prompts share."""
        return len(self.questions.tree.tokens) + len(self.labels) * (changes - 1)


@dataclass(frozen=True, slots=True)
class ReadPart:
    """A part with the residual stream (L, N, D) after each layer at the last token of its prompts."""

    model: CausalLM
    asked: AskedPart
    states: Tensor

    @classmethod
    def of(cls, model: CausalLM, asked: AskedPart, progress: Progress, what: str) -> Self:
        with progress.of(model, what):
            return cls(model, asked, layer_states(model, asked.questions))

    @property
    def labels(self) -> Tensor:
        return self.asked.labels

    def curve(self) -> tuple[LayerFigures, ...]:
        return layer_curve(layer_outputs(self.model, self.states, self.asked.questions.tokens), self.labels)

    def answers(self) -> ModelOutputs:
        """The model's own: those after its last layer."""
        return next(layer_outputs(self.model, self.states[-1:], self.asked.questions.tokens))

    def answers_under(self, layer: int, edits: Edits, progress: Progress, what: str) -> list[ModelOutputs]:
        """As `edited_outputs`. After the last layer no token attends any more, so the stream at hand is enough."""
        if layer < self.model.layers:
            with progress.of(self.model, what):
                return edited_outputs(self.model, self.asked.questions, layer, edits)
        stream_there, norm = self.states[-1], anatomy.final_norm(self.model.network)
        numbers = torch.arange(len(edits))[:, None].expand(-1, len(stream_there))
        with torch.inference_mode():
            states = [norm(edits.applied(stream_there, number)) for number in numbers]
        return [answer_outputs(self.model.unembedding, each, self.asked.questions.tokens) for each in states]
