"""Norms of per-sample gradients, one backward pass a direction and never one sample at a time."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.gradients.joined import joined
from models.gradients.layer_kind import Batch, Terms
from models.gradients.layers import Layers, Member
from models.gradients.recording import Recorder, Recording
from models.gradients.terms import Term, wide

MEMORY = 128 * 2**20  # bytes that a recorded forward pass may hold: more rows at a time are hardly faster

Norm = Callable[[Term, int], Tensor]  # of a term, and how many directions there are

SQUARED_L2: Norm = lambda term, directions: term.square_norms(directions)  # noqa: E731  # as values of one table
L1: Norm = lambda term, _: term.absolute_norms()  # noqa: E731


class ClassGradients:
    """A network whose gradients are known. `forward` maps its inputs to logits (rows, C), row by row.

    Gradients are taken of the last `depth` layers only, where that is given; the others cost nothing then.
    """

    def __init__(
        self, network: nn.Module, layers: Layers, forward: Callable[[Any], Tensor], depth: int | None = None
    ) -> None:
        self.layers = layers
        self.forward = forward
        self.depth = len(layers) if depth is None else min(depth, len(layers))
        network.requires_grad_(False)
        self._recorder = Recorder(layers.last(self.depth))

    def rows_at_a_time(self, copies: int = 1) -> int:
        """How many rows keep to MEMORY bytes; a whole number of samples, at least one."""
        return max(1, MEMORY // (self.layers.bytes_a_row * copies)) * copies

    def norms(
        self,
        inputs: Any,
        batch: Batch,
        directions: Callable[[Tensor], Sequence[Tensor]],
        norm: Norm = SQUARED_L2,
    ) -> tuple[Tensor, Tensor]:
        """Logits (rows, C), and for K directions the norms (K, samples, depth) of each layer, last layer last.

        `directions` gives, for the logits, K cotangents (rows, C) on them.
        """
        with self._recorder.record(batch) as recording:
            logits = self.forward(inputs)
        logits_only = logits.detach()
        cotangents = directions(logits_only)

        def measure(term: Term) -> Tensor:
            return norm(term, len(cotangents))

        found = [self._backward(recording, logits, cotangent, measure) for cotangent in cotangents]
        return logits_only, torch.stack(found)

    def _backward(
        self, recording: Recording, logits: Tensor, cotangent: Tensor, norm: Callable[[Term], Tensor]
    ) -> Tensor:
        first = len(self.layers) - self.depth
        samples = recording.batch.samples
        totals = wide(logits.new_zeros(samples, self.depth))
        shared: dict[int, list[Term]] = defaultdict(list)

        def deliver(member: Member, terms: Terms) -> None:
            for name, term in terms.items():
                parameter = id(member.module.get_parameter(name))
                if parameter in self.layers.shared:
                    shared[parameter].append(term)
                else:
                    totals[:, member.layer - first] += norm(term)

        recording.backward(logits, cotangent.to(logits.dtype), deliver)
        for parameter, terms in shared.items():
            totals[:, self.layers.shared[parameter] - first] += norm(joined(terms))
        return totals
