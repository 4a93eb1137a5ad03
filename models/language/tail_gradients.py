"""Gradients of a language model's last layers: those of its last block after the attention, and the unembedding.

sum_c p_c ||grad log p_c||^2 over the choices c of an item, a backward pass a choice through one block at one token: no
estimate, and little beside the forward pass over the prompt. These layers have no gradients through other tokens; what
a tied unembedding does as the embedding is left out. That the sum stops at the last block's attention, in front of
which tokens mix, is ours.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.core.outputs import LayerGradients, ModelOutputs
from models.gradients.class_gradients import ClassGradients
from models.gradients.last_layer import last_layer_energy
from models.gradients.layer_kind import Batch
from models.gradients.layers import find_layers
from models.language.anatomy import unembedding
from models.language.block_tail import TailReads, block_tail
from models.language.token_tree import Nodes, TokenTree


class TailGradients:
    """Sits on a network in eval mode for good; threads may share it.

    Raises UnsupportedError for a network whose last block is of another make.
    """

    def __init__(self, network: Any) -> None:
        self._unembedding = unembedding(network)
        tail, self._watch, example = block_tail(network)
        self._gradients = ClassGradients(tail, find_layers(tail, lambda: tail(example)), tail)
        self._layers = sum(map(_has_matrix, network.modules()))

    @property
    def depth(self) -> int:
        """Layers that gradients are taken of, the unembedding among them."""
        return len(self._gradients.layers) + 1

    def states_at(self, tree: TokenTree, nodes: Nodes, budget: int) -> tuple[Tensor, TailReads]:
        """As `TailWatch.states_at`."""
        return self._watch.states_at(tree, nodes, budget)

    def of_choices(self, reads: TailReads, outputs: ModelOutputs, tokens: Sequence[tuple[int, ...]]) -> LayerGradients:
        """For N items whose prompts end where `reads` (N rows) are of, with the tokens that each may choose from.

        Not for inference mode, in which nothing can be sent back.
        """
        probabilities = outputs.log_probabilities().exp()
        weights = self._choice_weights(tokens)
        mean = torch.einsum("nc,ncd->nd", probabilities, weights)

        def directions(states: Tensor) -> Sequence[Tensor]:
            each = probabilities.sqrt()[:, :, None] * (weights - mean[:, None])
            return list(each.to(states.dtype).unbind(dim=1))

        _, norms = self._gradients.norms(reads, Batch(len(tokens)), directions)
        last = last_layer_energy(probabilities, outputs.require_features())
        return LayerGradients(torch.cat([norms.sum(dim=0), last[:, None]], dim=1), self._layers)

    def _choice_weights(self, tokens: Sequence[tuple[int, ...]]) -> Tensor:
        """(N, C, D) float32: the unembedding's rows, 0 for a choice that an item does not have."""
        found = [self._unembedding.weight[list(ids)].float() for ids in tokens]
        return torch.nn.utils.rnn.pad_sequence(found, batch_first=True)


def _has_matrix(module: nn.Module) -> bool:
    return any(parameter.ndim > 1 for parameter in module.parameters(recurse=False))
