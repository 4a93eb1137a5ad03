"""Per-sample gradients in the factored form that a layer has them in, and their norms without building them.

N samples, each with T positions (tokens or pixels). A parameter's gradient is a sum of terms, one a use of it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from models.gradients.kept import Kept

BUILT = 16 * 2**20  # bytes of gradients that are built at a time


class Term(ABC):
    """The gradients of N samples with respect to one parameter, through one use of it."""

    @abstractmethod
    def square_norms(self, directions: int = 1) -> Tensor:
        """(N,): squared L2 norm, at least float32. `directions` is how many backward passes read the same inputs."""

    @abstractmethod
    def absolute_norms(self) -> Tensor:
        """(N,): L1 norm, at least float32."""

    @abstractmethod
    def gradients(self) -> Tensor:
        """(N, P): the gradients themselves, in the parameter's order of elements, at least float32."""


@dataclass(frozen=True, slots=True)
class Direct(Term):
    """Gradients (N, ...) that are cheap enough to be built."""

    values: Tensor

    def square_norms(self, directions: int = 1) -> Tensor:
        return square_sum(self.values)

    def absolute_norms(self) -> Tensor:
        return absolute_sum(self.values)

    def gradients(self) -> Tensor:
        return wide(self.values).flatten(1)


class Inputs:
    """What a layer read, (N, G, T, I) for G groups: the same for every class, so its Gram matrices are kept."""

    def __init__(self, values: Tensor) -> None:
        self._kept = Kept(values)
        self._gram: Tensor | None = None

    @property
    def values(self) -> Tensor:
        """Raises UnsupportedError if the network has written into them since."""
        return self._kept.values

    def gram(self) -> Tensor:
        """(N, G, T, T): inner products of every two positions' inputs."""
        values = self.values
        if self._gram is None:
            self._gram = values @ values.mT
        return self._gram


@dataclass(frozen=True, slots=True)
class Outer(Term):
    """Gradients (N, G, O, I) = sum_t outputs_t ⊗ inputs_t; `outputs` are output gradients (N, G, T, O).

    ||sum_t o_t ⊗ i_t||^2 = sum_ts (o_t · o_s)(i_t · i_s), the Gram form, costs T (O + I / directions) against O I of
    the direct one. `transposed` parameters have their elements in the order (I, O).
    """

    outputs: Tensor
    inputs: Inputs
    transposed: bool = field(default=False, kw_only=True)

    def square_norms(self, directions: int = 1) -> Tensor:
        return self.gram_norms() if self._gram_is_cheaper(directions) else self.direct_norms()

    def gram_norms(self) -> Tensor:
        """(N,): squared L2 norm in the Gram form."""
        products = (self.outputs @ self.outputs.mT).mul_(self.inputs.gram())
        # The sum is a square, which rounding may put below 0.
        return wide(products).flatten(1).sum(dim=1).clamp_min(0)

    def direct_norms(self) -> Tensor:
        """(N,): squared L2 norm of the gradients, built a few samples at a time."""
        return self._reduced(square_sum)

    def absolute_norms(self) -> Tensor:
        if self.outputs.shape[2] == 1:
            each = wide(self.outputs).abs().sum(dim=(2, 3)) * wide(self.inputs.values).abs().sum(dim=(2, 3))
            return each.sum(dim=1)
        return self._reduced(absolute_sum)

    def gradients(self) -> Tensor:
        built = self.outputs.mT @ self.inputs.values
        return wide(built.mT if self.transposed else built).flatten(1)

    def _gram_is_cheaper(self, directions: int) -> bool:
        positions, width = self.outputs.shape[-2:]
        reads = self.inputs.values.shape[-1]
        return bool(positions * (width + reads / directions) <= width * reads)

    def _reduced(self, reduce: Callable[[Tensor], Tensor]) -> Tensor:
        groups, _, width = self.outputs.shape[1:]
        values = self.inputs.values
        some = max(1, BUILT // (groups * width * values.shape[-1] * values.itemsize))
        parts = zip(torch.split(self.outputs, some), torch.split(values, some), strict=True)
        return torch.cat([reduce(outputs.mT @ inputs) for outputs, inputs in parts])


def wide(values: Tensor) -> Tensor:
    """At least float32: sums of many bfloat16 numbers lose their digits."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def square_sum(values: Tensor) -> Tensor:
    """(N,): the squared L2 norm of each of (N, ...)."""
    norms: Tensor = torch.linalg.vector_norm(wide(values).flatten(1), dim=1)
    return norms.square_()


def absolute_sum(values: Tensor) -> Tensor:
    """(N,): the L1 norm of each of (N, ...)."""
    absolute: Tensor = torch.linalg.vector_norm(wide(values).flatten(1), ord=1, dim=1)
    return absolute
