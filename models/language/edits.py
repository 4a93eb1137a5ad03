"""Changes of the residual stream at the token that is read, many at once: each prompt's last token is asked once a
change, as siblings after a common prompt that is computed once.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.language import anatomy
from models.language.causal_lm import CausalLM
from models.language.layers import stream
from models.language.next_token import NextTokenQuestions
from models.language.token_tree import Nodes, TokenTree, token_tree
from models.language.tree_forward import BUDGET, states_at


@dataclass(frozen=True, slots=True)
class Edits:
    """K changes A' = A + step * v, without A's part along v where `removed`: unit vectors (K, D), steps and flags (K,).

    A step of 0 that removes nothing leaves A as it is, bit for bit. Only the last token of a prompt is changed, not
    those before it (ours: which positions the paper changes is not known).
    """

    vectors: Tensor
    steps: Tensor
    removed: Tensor

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or {self.steps.shape, self.removed.shape} != {self.vectors.shape[:1]}:
            raise ValueError("edits are vectors (K, D), steps (K,) and removed (K,)")

    def __len__(self) -> int:
        return len(self.vectors)

    def applied(self, states: Tensor, numbers: Tensor) -> Tensor:
        """States (R, D) after the changes with these numbers (R,)."""
        vectors = self.vectors.to(states)[numbers]
        along = (states * vectors).sum(dim=1, keepdim=True)
        change = self.steps.to(states)[numbers, None] - along * self.removed.to(states)[numbers, None]
        return states + change * vectors


def edited_states(
    model: CausalLM, questions: NextTokenQuestions, layer: int, edits: Edits, budget: int = BUDGET
) -> Tensor:
    """(K, N, D): the final states of the N prompts under each change after `layer`, 1 to the number of layers."""
    if not 1 <= layer <= model.layers:
        raise ValueError(f"layer must be 1 to {model.layers}, got {layer}")
    tree = _with_copies(questions, len(edits), model.vocabulary)
    ends = np.stack([path[-1] for path in tree.paths]).reshape(len(questions.ends), len(edits))
    nodes, places = np.unique(ends.T, return_inverse=True)
    numbers = np.full(len(tree.tokens), -1)
    numbers[ends] = np.arange(len(edits))
    with _edited(anatomy.blocks(model.network)[layer - 1], tree, numbers, edits, budget):
        return states_at(model.network, tree, nodes, budget)[torch.from_numpy(places.reshape(ends.T.shape))]


def _with_copies(questions: NextTokenQuestions, count: int, vocabulary: int) -> TokenTree:
    """The tree with `count` siblings in place of the last token of every prompt.

    Siblings are told apart by tokens beyond the vocabulary until the tree is made.
    """
    prompts = [questions.tree.tokens[path].tolist() for path in questions.tree.paths]
    tree = token_tree(
        [[*prompt[:-1], (number + 1) * vocabulary + prompt[-1]] for prompt in prompts for number in range(count)]
    )
    return replace(tree, tokens=tree.tokens % vocabulary)


@contextmanager
def _edited(block: torch.nn.Module, tree: TokenTree, numbers: Nodes, edits: Edits, budget: int) -> Iterator[None]:
    ranges, ours = tree.stretches(budget), threading.get_ident()

    def edit(_block: torch.nn.Module, _inputs: Any, output: Any) -> Any:
        if threading.get_ident() != ours:  # the network answers on other threads meanwhile
            return output
        first, last = next(ranges)  # the block runs once a range, in order
        rows = np.flatnonzero(numbers[first:last] >= 0)
        if not len(rows):
            return output
        states, chosen = stream(output).clone(), torch.from_numpy(rows)
        states[0, chosen] = edits.applied(states[0, chosen], torch.from_numpy(numbers[first:last][rows]))
        return (states, *output[1:]) if isinstance(output, tuple) else states

    handle = block.register_forward_hook(edit)
    try:
        yield
    finally:
        handle.remove()
