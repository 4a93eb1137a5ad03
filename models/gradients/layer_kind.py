"""The plug-in interface of a kind of layer: what it read and the gradient of what it gave make parameter gradients."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from models.gradients.terms import Term

Terms = Mapping[str, Term]


@dataclass(frozen=True, slots=True)
class Batch:
    """How the rows of a forward pass belong together: `copies` rows in a row are one sample, perturbed.

    The gradient of a sample is the sum over its copies, so copies are more positions of it.
    """

    samples: int
    copies: int = 1

    @property
    def rows(self) -> int:
        return self.samples * self.copies

    def positions(self, values: Tensor) -> Tensor:
        """(rows, G, T, W) → (samples, G, copies · T, W)."""
        _, groups, positions, width = values.shape
        parts = values.reshape(self.samples, self.copies, groups, positions, width)
        return parts.transpose(1, 2).reshape(self.samples, groups, self.copies * positions, width)

    def total(self, values: Tensor) -> Tensor:
        """(rows, ...) → (samples, ...), summed over the copies."""
        return values.reshape(self.samples, self.copies, *values.shape[1:]).sum(dim=1)


class LayerKind(ABC):
    """One kind of layer. `handles` lists the exact types by their full names: a subclass may compute something else.

    Names, and not the types themselves: most of the libraries that have them are slow to import and not in use.
    """

    handles: ClassVar[tuple[str, ...]]
    carrier: ClassVar[bool] = False  # begins a layer of its own; the others belong to the one before them
    reads_constants: ClassVar[bool] = False  # one row may stand for all inputs: position numbers, say

    def source_module(self, module: nn.Module) -> nn.Module | None:
        """The module whose output the layer reads, where that is not the input of `module` itself."""
        return None

    def output_module(self, module: nn.Module) -> nn.Module:
        """The module whose output is the layer's, before anything else that `module` does to it."""
        return module

    def held(self, module: nn.Module, inputs: Tensor) -> int:
        """Bytes that `read` holds beyond `inputs` themselves."""
        return 0

    @abstractmethod
    def read(self, module: nn.Module, inputs: Tensor, batch: Batch) -> Callable[[Tensor], Terms]:
        """Take in what the layer read, once for all classes.

        The function that comes back turns the gradient of the layer's output into a term for each of the module's
        parameters, by their names. Raises UnsupportedError for options that it cannot account for.
        """
