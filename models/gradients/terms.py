"""Per-sample gradients in the factored form that a layer has them in, and their norms without building them.

N samples, each with T positions (tokens or pixels). A parameter's gradient is a sum of terms, one a use of it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


class Term(ABC):
    """The gradients of N samples with respect to one parameter, through one use of it."""

    @abstractmethod
    def square_norms(self) -> Tensor:
        """(N,): squared L2 norm, at least float32."""

    @abstractmethod
    def gradients(self) -> Tensor:
        """(N, P): the gradients themselves, in the parameter's order of elements, at least float32."""

    def absolute_norms(self) -> Tensor:
        """(N,): L1 norm. It has no factored form, so the gradients are built."""
        return self.gradients().abs().sum(dim=1)


@dataclass(frozen=True, slots=True)
class Direct(Term):
    """Gradients (N, ...) that are cheap enough to be built."""

    values: Tensor

    def square_norms(self) -> Tensor:
        return wide(self.values).flatten(1).square().sum(dim=1)

    def gradients(self) -> Tensor:
        return wide(self.values).flatten(1)


@dataclass(slots=True)
class Inputs:
    """What a layer read, (N, G, T, I) for G groups: the same for every class, so its Gram matrices are kept."""

    values: Tensor
    _gram: Tensor | None = field(default=None, init=False)

    def gram(self) -> Tensor:
        """(N, G, T, T): inner products of every two positions' inputs."""
        if self._gram is None:
            self._gram = self.values @ self.values.mT
        return self._gram


@dataclass(frozen=True, slots=True)
class Outer(Term):
    """Gradients (N, G, O, I) = sum_t outputs_t ⊗ inputs_t; `outputs` are output gradients (N, G, T, O).

    ||sum_t o_t ⊗ i_t||^2 = sum_ts (o_t · o_s)(i_t · i_s), the Gram form, costs T (O + I) against O I of the direct one.
    """

    outputs: Tensor
    inputs: Inputs

    def square_norms(self) -> Tensor:
        positions, width = self.outputs.shape[-2:]
        reads = self.inputs.values.shape[-1]
        if positions * (width + reads) <= width * reads:
            products = (self.outputs @ self.outputs.mT) * self.inputs.gram()
            # The sum is a square, which rounding may put below 0.
            return wide(products).flatten(1).sum(dim=1).clamp_min(0)
        return wide(self._built()).flatten(1).square().sum(dim=1)

    def gradients(self) -> Tensor:
        return wide(self._built()).flatten(1)

    def _built(self) -> Tensor:
        return self.outputs.mT @ self.inputs.values


def wide(values: Tensor) -> Tensor:
    """At least float32: sums of many bfloat16 numbers lose their digits."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def joined(terms: Sequence[Term]) -> Term:
    """One term for a parameter that is used several times: the gradients add up before their norm is taken."""
    if len(terms) == 1:
        return terms[0]
    return Direct(torch.stack([term.gradients() for term in terms]).sum(dim=0))
