"""The choices of prompts as outputs that calibrators and scores read, however the choices are read out.

Every item has room for `MOST_CHOICES`, with a mask over those that it has: so items of any number of choices share a
batch, and one fitted calibrator fits them all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from models.core.outputs import ModelOutputs
from models.core.prompt_spec import Readout
from models.language.causal_lm import CausalLM
from models.language.choices import Normalisation, score_next_token, score_texts, without_question
from models.language.continuations import MOST_CHOICES, Item, item_continuations
from models.language.edits import Edits, edited_states
from models.language.next_token import answer_outputs, next_token_questions

NORMALISED = {
    Readout.TEXT: Normalisation.NONE,
    Readout.TEXT_LENGTH: Normalisation.LENGTH,
    Readout.TEXT_UNCONDITIONAL: Normalisation.UNCONDITIONAL,
}


@dataclass(frozen=True, slots=True)
class ResidualStep:
    """A step of `length` along the unit `vector` (D,) of the residual stream after `layer`, where a prompt ends."""

    vector: Tensor
    layer: int
    length: float

    def beside_none(self) -> Edits:
        """No step, then this one."""
        vectors = self.vector.float().expand(2, -1)
        return Edits(vectors, torch.tensor([0.0, self.length]), torch.zeros(2, dtype=torch.bool))


@dataclass(frozen=True, slots=True)
class Reading:
    """Logits and mask (N, MOST_CHOICES), features (N, D), float32; `moved` are the outputs after a residual step.

    `tasks` names the task of each item that has one.
    """

    outputs: ModelOutputs
    tasks: tuple[str | None, ...]
    moved: ModelOutputs | None = None


def read_items(
    model: CausalLM,
    items: Sequence[Item],
    readout: Readout,
    step: ResidualStep | None = None,
    tasks: Sequence[str | None] | None = None,
    *,
    gradients: bool = False,
) -> Reading:
    """Raises DataError, with the item's number, for one that cannot be read so; a step is for NEXT_TOKEN only.

    `gradients` of the last layers, where the model has them, come with a plain NEXT_TOKEN reading only.
    """
    named = tuple(tasks) if tasks is not None else (None,) * len(items)
    if readout is not Readout.NEXT_TOKEN:
        return Reading(_roomy(score_texts(model, items, NORMALISED[readout]), items), named)
    if step is None:
        return Reading(_roomy(score_next_token(model, items, gradients=gradients), items), named)
    questions = next_token_questions(model, items)
    states = edited_states(model, questions, step.layer, step.beside_none())
    own, moved = (_roomy(answer_outputs(model.unembedding, each, questions.tokens), items) for each in states)
    return Reading(own, named, moved)


def tokens_of(model: CausalLM, item: Item, readout: Readout) -> int:
    """How many go through the network for the item alone. Raises DataError for one that cannot be read so."""
    if readout is Readout.NEXT_TOKEN:
        return len(next_token_questions(model, [item]).tree.tokens)
    read = [item, without_question(item)] if readout is Readout.TEXT_UNCONDITIONAL else [item]
    return sum(_text_tokens(model, each) for each in read)


def _text_tokens(model: CausalLM, item: Item) -> int:
    choices = item_continuations(model, [item])[0]
    prompt = min(choice.begin for choice in choices)
    return prompt + sum(len(choice.tokens) - prompt for choice in choices)


def _roomy(outputs: ModelOutputs, items: Sequence[Item]) -> ModelOutputs:
    counts = torch.tensor([len(item.choices) for item in items], device=outputs.logits.device)
    mask = torch.arange(MOST_CHOICES, device=counts.device)[None] < counts[:, None]
    logits = pad(outputs.logits, (0, MOST_CHOICES - outputs.logits.shape[1]))
    return replace(outputs, logits=logits, mask=mask, head=None)
