"""The registry of layer kinds, by the exact type of the module. Adding one is one file and one line here."""

from torch import nn

from models.core.errors import UnsupportedError
from models.gradients.batch_norm import BatchNormKind
from models.gradients.convolution import ConvolutionKind
from models.gradients.layer_kind import LayerKind
from models.gradients.linear import LinearKind

__all__ = ["LAYER_KINDS", "layer_kind"]

LAYER_KINDS: tuple[LayerKind, ...] = (LinearKind(), ConvolutionKind(), BatchNormKind())

_BY_TYPE: dict[type[nn.Module], LayerKind] = {module: kind for kind in LAYER_KINDS for module in kind.handles}


def layer_kind(name: str, module: nn.Module) -> LayerKind:
    """Raises UnsupportedError, naming the module, for a type that no kind handles."""
    kind = _BY_TYPE.get(type(module))
    if kind is None:
        own = ", ".join(parameter for parameter, _ in module.named_parameters(recurse=False))
        raise UnsupportedError(
            f"gradients of {name or 'the network'} ({type(module).__module__}.{type(module).__qualname__}: {own}) are"
            f" not known; known are {', '.join(sorted(module.__name__ for module in _BY_TYPE))}"
        )
    return kind
