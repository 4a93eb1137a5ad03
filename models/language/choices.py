"""How likely a causal language model finds each choice of an item, every shared token computed once.

Items with a common few-shot beginning and choices with a common prompt go through the network as one tree of tokens,
and logits are made only where a choice is read. A result depends on the other items by rounding only: under 1e-4 in
logits or log-probabilities in float32. In bfloat16 rounding is that of the network itself, see tests/benchmarks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import torch
from torch import Tensor, nn

from models.core.outputs import ModelOutputs
from models.language.causal_lm import CausalLM
from models.language.continuations import ChoiceItem, Continuation, Item, item_continuations
from models.language.next_token import answer_outputs, choice_mask, next_token_questions
from models.language.token_tree import Nodes, token_tree
from models.language.tree_forward import BUDGET, states_at

AT_ONCE = 256  # rows of full-vocabulary logits held at a time
ANSWER_CONTEXT = "Answer:"


class Normalisation(StrEnum):
    """What the summed log-probability of a choice is measured against (Brown et al. 2020, arXiv 2005.14165, 2.4)."""

    NONE = "none"
    LENGTH = "length"  # divided by the choice's number of tokens
    UNCONDITIONAL = "unconditional"  # less that of the choice after "Answer:" alone


@dataclass(frozen=True, slots=True)
class ReadContinuations:
    """Summed log-probability (S,) and number of tokens (S,) of each, and the state (S, D) that its first token is
    read from; all float32."""

    log_probabilities: Tensor
    counts: Tensor
    states: Tensor


def score_next_token(
    model: CausalLM, items: Sequence[Item], budget: int = BUDGET, *, gradients: bool = False
) -> ModelOutputs:
    """Logits (N, C) of choices that are one token each; features (N, D) are the final state of the prompt's last token.

    `head` is the unembedding's rows for the choices where all items have the same ones in the same order. `budget` is
    how many tokens go through the network at a time. With `gradients` those of the last layers too, where the model has
    them. Raises DataError for an item that cannot be scored so.
    """
    questions = next_token_questions(model, items)
    nodes, places = questions.nodes()
    if model.gradients is None or not gradients:
        states = states_at(model.network, questions.tree, nodes, budget)[places]
        return answer_outputs(model.unembedding, states, questions.tokens)
    states, reads = model.gradients.states_at(questions.tree, nodes, budget)
    outputs = answer_outputs(model.unembedding, states[places], questions.tokens)
    found = model.gradients.of_choices(reads.take(places), outputs, questions.tokens)
    return replace(outputs, gradients=found)


def score_texts(
    model: CausalLM,
    items: Sequence[Item],
    normalisation: Normalisation = Normalisation.NONE,
    budget: int = BUDGET,
) -> ModelOutputs:
    """Logits (N, C): log-probability of each whole choice after its prompt, in nats, summed over its tokens.

    Features (N, D) are the final state that the earliest of the choices is read from. No head: a choice of several
    tokens is no linear function of one state. Raises DataError for an item that cannot be scored.
    """
    found = item_continuations(model, items)
    read = read_continuations(model, [each for choices in found for each in choices], budget)
    values = read.log_probabilities
    if normalisation is Normalisation.LENGTH:
        values = values / read.counts
    if normalisation is Normalisation.UNCONDITIONAL:
        values = values - _unconditional(model, items, budget)
    counts = [len(choices) for choices in found]
    mask = choice_mask(counts, values.device)
    logits = values.view(len(items), -1) if mask is None else _padded(values, mask)
    return ModelOutputs(logits, features=read.states[_earliest(found)], mask=mask)


def read_continuations(
    model: CausalLM, continuations: Sequence[Continuation], budget: int = BUDGET
) -> ReadContinuations:
    """The model's own log-probabilities, softmax over the whole vocabulary."""
    tree = token_tree([each.tokens[:-1] for each in continuations])
    read = [path[each.begin - 1 :] for path, each in zip(tree.paths, continuations, strict=True)]
    nodes = np.unique(np.concatenate(read))
    states = states_at(model.network, tree, nodes, budget)
    rows = np.searchsorted(nodes, np.concatenate(read))
    targets = np.concatenate([each.tokens[each.begin :] for each in continuations])
    each = _log_probabilities(model.unembedding, states, rows, targets)
    counts = torch.tensor([len(path) for path in read], device=each.device)
    sums = torch.stack([part.sum() for part in torch.split(each, counts.tolist())])
    firsts = np.searchsorted(nodes, [path[0] for path in read])
    return ReadContinuations(sums, counts.float(), states[torch.from_numpy(firsts)].float())


def without_question(item: Item) -> ChoiceItem:
    """The choices after the same few words that say nothing of the question."""
    return ChoiceItem(ANSWER_CONTEXT, item.choices)


def _log_probabilities(unembedding: nn.Linear, states: Tensor, rows: Nodes, targets: Nodes) -> Tensor:
    """(T,) float32: of token targets[t] after states[rows[t]]."""
    order = np.argsort(rows, kind="stable")
    found = torch.empty(len(rows), device=states.device)
    for start, part in _logits(unembedding, states):
        low, high = np.searchsorted(rows[order], (start, start + len(part)))
        chosen = order[low:high]
        places, tokens = (torch.from_numpy(values[chosen]).to(states.device) for values in (rows - start, targets))
        found[torch.from_numpy(chosen)] = part[places, tokens] - part.logsumexp(dim=1)[places]
    return found


def _logits(unembedding: nn.Linear, states: Tensor) -> Iterator[tuple[int, Tensor]]:
    for start in range(0, len(states), AT_ONCE):
        with torch.inference_mode():
            yield start, unembedding(states[start : start + AT_ONCE]).float()


def _unconditional(model: CausalLM, items: Sequence[Item], budget: int) -> Tensor:
    """(S,): of every choice without its question."""
    bare = item_continuations(model, [without_question(item) for item in items])
    return read_continuations(model, [each for choices in bare for each in choices], budget).log_probabilities


def _padded(values: Tensor, mask: Tensor) -> Tensor:
    return torch.zeros(mask.shape, device=values.device).masked_scatter(mask, values)


def _earliest(found: Sequence[tuple[Continuation, ...]]) -> Tensor:
    """Of each item the number, among all continuations, of the choice that begins first."""
    places, before = [], 0
    for choices in found:
        begins = [each.begin for each in choices]
        places.append(before + begins.index(min(begins)))
        before += len(choices)
    return torch.tensor(places)
