"""What a language model holds of each token of reference answers: one pass over prompt and answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from models.language.causal_lm import CausalLM
from models.language.choices import AT_ONCE
from models.language.continuations import Continuation
from models.language.token_tree import token_tree
from models.language.tree_forward import states_at

READ_AT_ONCE = 16  # answers. Ours: the tree over them stays small


@dataclass(frozen=True, slots=True)
class ReadTokens:
    """`states` (T, D) that the unembedding reads each token from, and the tokens that came, `targets` (T,) int64."""

    states: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        return cls(torch.cat([part.states for part in parts]), torch.cat([part.targets for part in parts]))

    def logits(self, unembedding: nn.Linear) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits (n, V) float32 and targets (n,), a bounded number of tokens at a time."""
        for start in range(0, len(self), AT_ONCE):
            with torch.inference_mode():
                found = unembedding(self.states[start : start + AT_ONCE]).float()
            yield found, self.targets[start : start + AT_ONCE]


def read_tokens(model: CausalLM, answers: Sequence[Continuation]) -> Iterator[ReadTokens]:
    """The tokens of each answer, some answers at a time and in their order."""
    for start in range(0, len(answers), READ_AT_ONCE):
        yield _read(model, answers[start : start + READ_AT_ONCE])


def _read(model: CausalLM, answers: Sequence[Continuation]) -> ReadTokens:
    tree = token_tree([each.tokens[:-1] for each in answers])
    read = np.concatenate([path[each.begin - 1 :] for path, each in zip(tree.paths, answers, strict=True)])
    nodes = np.unique(read)
    states = states_at(model.network, tree, nodes)
    targets = [token for each in answers for token in each.tokens[each.begin :]]
    rows = torch.from_numpy(np.searchsorted(nodes, read)).to(states.device)
    return ReadTokens(states[rows], torch.tensor(targets, device=states.device))
