"""Linear layers, attention projections among them; the gradient is the outer product of output gradient and input."""

from collections.abc import Callable

from torch import Tensor, nn

from models.gradients.layer_kind import Batch, LayerKind, Terms
from models.gradients.terms import Direct, Inputs, Outer


class LinearKind(LayerKind):
    """y = x W' + b at each position of (rows, ..., features)."""

    handles = (nn.Linear,)
    carrier = True

    def read(self, module: nn.Module, inputs: Tensor, batch: Batch) -> Callable[[Tensor], Terms]:
        read = Inputs(batch.positions(_positions(inputs)))

        def terms(grads: Tensor) -> Terms:
            outputs = batch.positions(_positions(grads))
            found: dict[str, Direct | Outer] = {"weight": Outer(outputs, read)}
            if module.bias is not None:
                found["bias"] = Direct(outputs.sum(dim=2))
            return found

        return terms


def _positions(values: Tensor) -> Tensor:
    """(rows, ..., width) → (rows, 1 group, T, width)."""
    return values.reshape(values.shape[0], 1, -1, values.shape[-1])
