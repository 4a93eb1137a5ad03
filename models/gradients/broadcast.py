"""Parameters that a network adds to every input as they are: class tokens and position embeddings.

No hook sees them. In a recorded pass the torch functions of its thread get, in place of such a parameter (1, ...), one
copy of it a row (rows, ...); the gradient of the copies is that of each row. The network itself is left alone.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from models.core.errors import UnsupportedError

_EMBEDDINGS = ("cls_token", "mask_token", "position_embeddings")


class BroadcastKind:
    """`handles` are networks whose code is known to use each of the parameters named with it row by row."""

    handles: Mapping[str, tuple[str, ...]] = {
        "timm.models.vision_transformer.VisionTransformer": ("cls_token", "reg_token", "pos_embed"),
        "torchvision.models.vision_transformer.VisionTransformer": ("class_token",),
        "torchvision.models.vision_transformer.Encoder": ("pos_embedding",),
        "transformers.models.vit.modeling_vit.ViTEmbeddings": _EMBEDDINGS,
        "transformers.models.dinov2.modeling_dinov2.Dinov2Embeddings": _EMBEDDINGS,
    }
    carrier = False

    def parameters(self, module: nn.Module) -> dict[str, nn.Parameter]:
        """Raises UnsupportedError for a parameter in the module that is not known to be used so."""
        own = dict(module.named_parameters(recurse=False))
        known = self.handles[f"{type(module).__module__}.{type(module).__qualname__}"]
        unknown = [name for name, values in own.items() if name not in known or values.shape[0] != 1]
        if unknown:
            raise UnsupportedError(f"gradients of {', '.join(unknown)} of {type(module).__name__} are not known")
        return own


class Substitution(TorchFunctionMode):
    """Within the block, torch functions of this thread get `replace(parameter)` for any of `parameters`."""

    def __init__(self, parameters: Iterable[nn.Parameter], replace: Callable[[nn.Parameter], Tensor]) -> None:
        super().__init__()
        self._ids = {id(parameter) for parameter in parameters}
        self._replace = replace

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", "") == "__get__" and not isinstance(found := func(*args), Tensor):
            return found  # a shape, a device: no use of the values
        given = {name: self._replaced(value) for name, value in (kwargs or {}).items()}
        return func(*self._replaced(args), **given)

    def _replaced(self, value: Any) -> Any:
        if isinstance(value, nn.Parameter):
            return self._replace(value) if id(value) in self._ids else value
        return type(value)(map(self._replaced, value)) if type(value) in (tuple, list) else value
