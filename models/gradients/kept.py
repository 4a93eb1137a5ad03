"""Tensors that are kept for later although the network that they come from may write into them."""

from torch import Tensor

from models.core.errors import UnsupportedError


class Kept:
    """`values` as they are now, by reference: whatever shares their memory must stay as it is."""

    __slots__ = ("_values", "_version")

    def __init__(self, values: Tensor) -> None:
        self._values = values
        self._version = _version(values)

    @property
    def values(self) -> Tensor:
        """Raises UnsupportedError if they were changed in place since."""
        if _version(self._values) != self._version:
            raise UnsupportedError(
                f"the network has changed {tuple(self._values.shape)} inputs of a layer in place after the layer read"
                " them, so their gradients are lost: use an operation that is not in place there"
            )
        return self._values


def _version(values: Tensor) -> int:
    # Nothing outside inference mode can write into an inference tensor, and it counts no versions.
    return 0 if values.is_inference() else values._version
