"""The registry of layer kinds, by the exact type of the module. Adding one is one file and one line here."""

from torch import nn

from models.core.errors import UnsupportedError
from models.gradients.batch_norm import BatchNormKind
from models.gradients.broadcast import BroadcastKind
from models.gradients.convolution import ConvolutionKind
from models.gradients.embedding import EmbeddingKind
from models.gradients.group_norm import GroupNormKind
from models.gradients.layer_kind import LayerKind
from models.gradients.layer_norm import LayerNormKind, RootMeanSquareNormKind
from models.gradients.layer_scale import BlockScaleKind, LayerScaleKind
from models.gradients.linear import LinearKind

__all__ = ["LAYER_KINDS", "layer_kind"]

LAYER_KINDS: tuple[LayerKind | BroadcastKind, ...] = (
    LinearKind(),
    ConvolutionKind(),
    EmbeddingKind(),
    BatchNormKind(),
    LayerNormKind(),
    RootMeanSquareNormKind(),
    GroupNormKind(),
    LayerScaleKind(),
    BlockScaleKind(),
    BroadcastKind(),
)

_BY_TYPE: dict[str, LayerKind | BroadcastKind] = {name: kind for kind in LAYER_KINDS for name in kind.handles}


def layer_kind(name: str, module: nn.Module) -> LayerKind | BroadcastKind:
    """Raises UnsupportedError, naming the module, for a type that no kind handles."""
    full = f"{type(module).__module__}.{type(module).__qualname__}"
    kind = _BY_TYPE.get(full)
    if kind is None:
        own = ", ".join(parameter for parameter, _ in module.named_parameters(recurse=False))
        known = ", ".join(sorted({handled.rpartition(".")[2] for handled in _BY_TYPE}))
        hint = ": see models.gradients.attention.expose_attention" if isinstance(module, nn.MultiheadAttention) else ""
        raise UnsupportedError(
            f"gradients of {name or 'the network'} ({full}: {own}) are not known{hint}; known are {known}"
        )
    return kind
