"""A learnt factor for each channel of a residual branch, as a module or in the midst of a block's own code."""

from collections.abc import Callable

from torch import Tensor, nn

from models.gradients.kept import Kept
from models.gradients.layer_kind import Batch, LayerKind, Terms
from models.gradients.terms import Direct


class LayerScaleKind(LayerKind):
    """y = gamma · x for channels in the last dimension, or in the second of maps."""

    handles = (
        "timm.layers.layer_scale.LayerScale",
        "timm.layers.layer_scale.LayerScale2d",
        "transformers.models.dinov2.modeling_dinov2.Dinov2LayerScale",
    )

    def read(self, module: nn.Module, inputs: Tensor, batch: Batch) -> Callable[[Tensor], Terms]:
        (name,) = dict(module.named_parameters(recurse=False))
        scaled = inputs.clone() if getattr(module, "inplace", False) else inputs
        return _terms(name, scaled, 1 if type(module).__name__ == "LayerScale2d" else -1, batch)


class BlockScaleKind(LayerKind):
    """ConvNeXt blocks scale what one of their modules gives and hand it to another, which in eval mode does nothing."""

    handles = (
        "timm.models.convnext.ConvNeXtBlock",
        "torchvision.models.convnext.CNBlock",
        "transformers.models.convnext.modeling_convnext.ConvNextLayer",
    )

    _SOURCES = {"ConvNeXtBlock": "mlp", "CNBlock": "block", "ConvNextLayer": "pwconv2"}  # noqa: RUF012

    def source_module(self, module: nn.Module) -> nn.Module:
        return module.get_submodule(self._SOURCES[type(module).__name__])

    def output_module(self, module: nn.Module) -> nn.Module:
        return module.get_submodule("stochastic_depth" if type(module).__name__ == "CNBlock" else "drop_path")

    def read(self, module: nn.Module, inputs: Tensor, batch: Batch) -> Callable[[Tensor], Terms]:
        (name,) = dict(module.named_parameters(recurse=False))
        channels_last = type(module).__name__ == "ConvNextLayer" or not getattr(module, "use_conv_mlp", True)
        return _terms(name, inputs.permute(0, 3, 1, 2) if channels_last else inputs, 1, batch)


def _terms(name: str, scaled: Tensor, channel: int, batch: Batch) -> Callable[[Tensor], Terms]:
    """`channel` is the dimension that the factors belong to."""
    kept = Kept(scaled)
    positions = [dim for dim in range(1, scaled.ndim) if dim != channel % scaled.ndim]

    def terms(grads: Tensor) -> Terms:
        products = grads * kept.values
        return {name: Direct(batch.total(products.sum(dim=positions) if positions else products))}

    return terms
