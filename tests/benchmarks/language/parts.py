"""What a model says of a part of a set after each of its layers: long passes, whose results `build/language` keeps."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import safetensors.torch
from torch import Tensor

from models.core.outputs import ModelOutputs
from models.language.causal_lm import CausalLM
from models.language.continuations import ChoiceItem
from models.language.layers import layer_outputs, layer_states
from models.language.next_token import NextTokenQuestions, next_token_questions
from tests.benchmarks.language import BUILD
from tests.benchmarks.language.mmlu import Asked


@dataclass(frozen=True, slots=True)
class Part:
    """One split: its questions, the places of the right choices, and the residual stream after each layer."""

    questions: NextTokenQuestions
    labels: Tensor
    states: Tensor

    def answers(self, model: CausalLM) -> ModelOutputs:
        """The model's own: those after its last layer."""
        return next(layer_outputs(model, self.states[-1:], self.questions.tokens))


def part(model: CausalLM, chosen: Asked) -> Part:
    questions = next_token_questions(model, chosen.items)
    states = kept(model, chosen.items, "states", lambda: layer_states(model, questions))
    return Part(questions, chosen.labels, states)


def kept(model: CausalLM, items: Sequence[ChoiceItem], name: str, make: Callable[[], Tensor]) -> Tensor:
    """What `make` gives for these items in this precision, out of its file where it was made before."""
    path = BUILD / name / f"{_key(model.precision, items)}.safetensors"
    if not path.exists():
        print(f"{name} of {len(items)} questions", flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        safetensors.torch.save_file({name: make()}, beside := path.with_suffix(f".{os.getpid()}.tmp"))
        os.replace(beside, path)
    return safetensors.torch.load_file(path)[name]


def _key(precision: str, items: Sequence[ChoiceItem]) -> str:
    asked = "\0".join(f"{item.prompt}{item.choices}" for item in items)
    return hashlib.sha256(f"{precision}\0{asked}".encode()).hexdigest()[:16]
