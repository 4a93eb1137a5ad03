"""Loss rank (arXiv 2402.16569): a small head on the network's features that ranks inputs by the loss to be expected.

Only the order of its values means something, and it is of the input's ambiguity alone: no detector of unknown domains.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu, linear, softplus

from models.core.method import Dimensions, Kind, State, UncertaintyScore
from models.core.outputs import ModelOutputs, Needs

SLOPE = 0.01  # of the leaky ReLU below 0
LEAST = 1e-6  # added by the released code, so that no value is 0


class LossRank(UncertaintyScore):
    """softplus(MLP(h)) + 1e-6 of the features h, unbounded; `depth` hidden layers of `width` units, leaky ReLU between.

    Papers' sizes: 512 and 2; the predecessor (URL, arXiv 2307.03810) has 1024 and 3. It has to be trained, see
    `models.training.loss_rank_head`; a state that is loaded brings its own sizes.
    """

    name = "loss_rank"
    needs = Needs.FEATURES
    kind = Kind.ALEATORIC

    def __init__(self, dimensions: Dimensions, width: int = 512, depth: int = 2) -> None:
        super().__init__(dimensions)
        if width < 1 or depth < 1:
            raise ValueError(f"the head needs a width and a depth of at least 1, got {width} and {depth}")
        self.width, self.depth = width, depth

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        sizes = (self.dimensions.features, *[self.width] * self.depth, 1)
        layers = enumerate(pairwise(sizes))
        return {name: shape for layer, (given, made) in layers for name, shape in _shapes(layer, given, made)}

    def load_state(self, state: State) -> "LossRank":
        """As of every method, with the width and depth of `state`."""
        first = state.get("weight.0")
        if first is not None and first.ndim == 2 and len(first) > 0 and len(state) >= 4:
            self.width, self.depth = len(first), len(state) // 2 - 1
        return super().load_state(state)

    def score(self, outputs: ModelOutputs) -> Tensor:
        self.require_fitted()
        # A stored head may be on the network's device while the outputs it is judged by are not.
        return loss_ranks(self._state, outputs.require_features().to(self._state["weight.0"]))


def loss_ranks(state: Mapping[str, Tensor], features: Tensor) -> Tensor:
    """(N,), above 0, for features (N, D) and the tensors of a `LossRank`; gradients flow to both."""
    *hidden, last = range(len(state) // 2)
    for layer in hidden:
        features = leaky_relu(linear(features, state[f"weight.{layer}"], state[f"bias.{layer}"]), SLOPE)
    return softplus(linear(features, state[f"weight.{last}"], state[f"bias.{last}"])).squeeze(1) + LEAST


def _shapes(layer: int, given: int, made: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"weight.{layer}", (made, given)
    yield f"bias.{layer}", (made,)


def initial_state(head: LossRank, generator: torch.Generator) -> State:
    """Random tensors for an untrained head, uniform within ±1 / sqrt(inputs of the layer) as torch's Linear has it."""
    state: State = {}
    for name, shape in head.state_shapes().items():
        inputs = shape[1] if len(shape) == 2 else state[name.replace("bias", "weight")].shape[1]
        state[name] = (2 * torch.rand(shape, generator=generator) - 1) / inputs**0.5
    return state
