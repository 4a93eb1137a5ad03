"""Linear layers, attention projections among them; the gradient is the outer product of output gradient and input."""

from collections.abc import Callable

from torch import Tensor, nn

from models.gradients.layer_kind import Batch, LayerKind, Terms
from models.gradients.terms import Direct, Inputs, Outer, Term


class LinearKind(LayerKind):
    """y = x W' + b at each position of (rows, ..., features); y = x W + b for the Conv1D of transformers' GPT-2."""

    handles = (
        "torch.nn.modules.linear.Linear",
        "timm.layers.linear.Linear",
        "transformers.pytorch_utils.Conv1D",
    )
    carrier = True

    def read(self, module: nn.Module, inputs: Tensor, batch: Batch) -> Callable[[Tensor], Terms]:
        read = Inputs(batch.positions(_positions(inputs)))
        transposed = not isinstance(module, nn.Linear)

        def terms(grads: Tensor) -> Terms:
            outputs = batch.positions(_positions(grads))
            found: dict[str, Term] = {"weight": Outer(outputs, read, transposed=transposed)}
            if module.bias is not None:
                found["bias"] = Direct(outputs.sum(dim=2))
            return found

        return terms


def _positions(values: Tensor) -> Tensor:
    """(rows, ..., width) → (rows, 1 group, T, width)."""
    return values.reshape(values.shape[0], 1, -1, values.shape[-1])
