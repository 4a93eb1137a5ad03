"""Batch normalisation in eval mode: a fixed scale and shift of each channel, with or without an activation after it."""

from collections.abc import Callable

from torch import Tensor, nn

from models.core.errors import UnsupportedError
from models.gradients.layer_kind import Batch, LayerKind, Terms
from models.gradients.scale_and_shift import channel_terms


class BatchNormKind(LayerKind):
    """y = weight · (x - mean) / sqrt(var + eps) + bias, mean and var being constants."""

    handles = (
        "torch.nn.modules.batchnorm.BatchNorm1d",
        "torch.nn.modules.batchnorm.BatchNorm2d",
        "timm.layers.norm_act.BatchNormAct2d",
    )

    def output_module(self, module: nn.Module) -> nn.Module:
        # timm's variant goes on to drop out and to activate; what it hands to the first of them is its output.
        drop = getattr(module, "drop", None)
        return drop if isinstance(drop, nn.Module) else module

    def held(self, module: nn.Module, inputs: Tensor) -> int:
        return inputs.nbytes

    def read(self, module: nn.Module, inputs: Tensor, batch: Batch) -> Callable[[Tensor], Terms]:
        assert isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
        if module.training or module.running_mean is None or module.running_var is None:
            raise UnsupportedError("batch normalisation by the batch's own statistics mixes the inputs: use eval mode")
        shape = (1, -1, *[1] * (inputs.ndim - 2))
        scale = (module.running_var + module.eps).rsqrt().reshape(shape).to(inputs.dtype)
        normalised = (inputs - module.running_mean.reshape(shape).to(inputs.dtype)) * scale
        return channel_terms(normalised, batch, bias=True)
