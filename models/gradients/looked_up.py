"""Gradients of an embedding: a few rows of its table, alone or added to those of a linear layer with the same table."""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.gradients.terms import Outer, Term, absolute_sum, square_sum, wide


@dataclass(frozen=True, slots=True)
class LookedUp(Term):
    """Gradients (N, V, D) that are zero but for the rows `ids` (N, S), to which `rows` (N, S, D) are added.

    No row is in `ids` twice, unless the others are zero: see `looked_up`.
    """

    ids: Tensor
    rows: Tensor
    size: int  # V

    def square_norms(self, directions: int = 1) -> Tensor:
        return square_sum(self.rows)

    def absolute_norms(self) -> Tensor:
        return absolute_sum(self.rows)

    def gradients(self) -> Tensor:
        rows = wide(self.rows)
        table = rows.new_zeros(len(rows), self.size, rows.shape[-1])
        return table.scatter_add_(1, self.ids[..., None].expand_as(rows), rows).flatten(1)


def looked_up(ids: Tensor, grads: Tensor, size: int) -> LookedUp:
    """Of gradients (N, S, D) of what was looked up at `ids`: those of equal ids add up where the id is first met."""
    first = (ids[:, :, None] == ids[:, None]).byte().argmax(dim=2)
    rows = torch.zeros_like(wide(grads)).scatter_add_(1, first[..., None].expand_as(grads), wide(grads))
    return LookedUp(ids, rows, size)


@dataclass(frozen=True, slots=True)
class Tied(Term):
    """The sum of both: a linear layer (V, D) and an embedding share their weights.

    Only the rows that were looked up differ from the linear layer's gradient, so only they are built.
    """

    linear: Outer
    embedding: LookedUp

    def square_norms(self, directions: int = 1) -> Tensor:
        cross = (self._linear_rows() * self.embedding.rows).flatten(1).sum(dim=1)
        return self.linear.square_norms(directions) + 2 * cross + self.embedding.square_norms()

    def absolute_norms(self) -> Tensor:
        rows = self._linear_rows()
        change = absolute_sum(rows + self.embedding.rows) - absolute_sum(rows)
        return self.linear.absolute_norms() + change

    def gradients(self) -> Tensor:
        return self.linear.gradients() + self.embedding.gradients()

    def _linear_rows(self) -> Tensor:
        """(N, S, D): the linear layer's gradient at the rows that were looked up."""
        outputs = self.linear.outputs[:, 0]
        columns = outputs.gather(2, self.embedding.ids[:, None].expand(-1, outputs.shape[1], -1))
        return wide(columns.mT @ self.linear.inputs.values[:, 0])
