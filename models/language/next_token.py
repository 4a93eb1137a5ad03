"""Choices of one token each, such as the letters " A" to " D": all of them are read where the prompt ends."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from models.core.errors import DataError
from models.core.outputs import LinearHead, ModelOutputs
from models.language.causal_lm import CausalLM
from models.language.continuations import Item, item_continuations
from models.language.token_tree import Nodes, TokenTree, token_tree


@dataclass(frozen=True, slots=True)
class NextTokenQuestions:
    """The tree of the N prompts, the node that each ends at, and the tokens that may follow it."""

    tree: TokenTree
    ends: Nodes  # (N,)
    tokens: tuple[tuple[int, ...], ...]

    def nodes(self) -> tuple[Nodes, Tensor]:
        """The distinct ends, ascending, and which of them each prompt has, (N,)."""
        nodes, places = np.unique(self.ends, return_inverse=True)
        return nodes, torch.from_numpy(places)


def next_token_questions(model: CausalLM, items: Sequence[Item]) -> NextTokenQuestions:
    """Raises DataError, beside what `item_continuations` refuses, for choices that are not one token at one place."""
    found = item_continuations(model, items)
    for number, choices in enumerate(found):
        if {(each.begin, len(each.tokens)) for each in choices} != {(choices[0].begin, choices[0].begin + 1)}:
            raise DataError(f"item {number}: not every choice is one token after the prompt; score them as texts")
    tree = token_tree([choices[0].tokens[:-1] for choices in found])
    ends = np.array([path[-1] for path in tree.paths])
    return NextTokenQuestions(tree, ends, tuple(tuple(each.tokens[-1] for each in choices) for choices in found))


def answer_outputs(
    unembedding: nn.Linear, states: Tensor, tokens: Sequence[tuple[int, ...]], *, features: bool = True
) -> ModelOutputs:
    """Logits of the choices' tokens out of states (N, D), always in float32; the head where all items have one set.

    The logits differ from log-probabilities over the vocabulary by one number an item, so the softmax over the choices
    is the same.
    """
    states = states.float()
    groups: dict[tuple[int, ...], list[int]] = {}
    for row, ids in enumerate(tokens):
        groups.setdefault(ids, []).append(row)
    heads = {ids: choice_head(unembedding, ids) for ids in groups}
    logits = torch.zeros(len(tokens), max(map(len, tokens)), device=states.device)
    for ids, rows in groups.items():
        logits[rows, : len(ids)] = heads[ids].logits(states[rows])
    head = next(iter(heads.values())) if len(heads) == 1 else None
    mask = choice_mask([len(ids) for ids in tokens], states.device)
    return ModelOutputs(logits, features=states if features else None, mask=mask, head=head)


def choice_head(unembedding: nn.Linear, tokens: Sequence[int]) -> LinearHead:
    """The rows of the unembedding that make the logits of some tokens."""
    weight = unembedding.weight[list(tokens)].float()
    bias = weight.new_zeros(len(tokens)) if unembedding.bias is None else unembedding.bias[list(tokens)].float()
    return LinearHead(weight, bias)


def choice_mask(counts: Sequence[int], device: torch.device) -> Tensor | None:
    """(N, C) True where an item has the choice; None where all have the same number."""
    if len(set(counts)) == 1:
        return None
    return (torch.arange(max(counts))[None] < torch.tensor(counts)[:, None]).to(device)
