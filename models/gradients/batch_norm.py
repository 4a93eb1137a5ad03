"""Batch normalisation in eval mode: a fixed scale and shift of each channel, with or without an activation after it."""

from collections.abc import Callable

from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from models.core.errors import UnsupportedError
from models.gradients.layer_kind import Batch, LayerKind, Terms
from models.gradients.terms import Direct


class BatchNormKind(LayerKind):
    """y = weight · (x - mean) / sqrt(var + eps) + bias, mean and var being constants."""

    handles = (nn.BatchNorm1d, nn.BatchNorm2d, BatchNormAct2d)

    def output_module(self, module: nn.Module) -> nn.Module:
        # timm's variant goes on to drop out and to activate; what it hands to the first of them is its output.
        return module.drop if isinstance(module, BatchNormAct2d) else module

    def read(self, module: nn.Module, inputs: Tensor, batch: Batch) -> Callable[[Tensor], Terms]:
        assert isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
        if module.training or module.running_mean is None or module.running_var is None:
            raise UnsupportedError("batch normalisation by the batch's own statistics mixes the inputs: use eval mode")
        shape = (1, -1, *[1] * (inputs.ndim - 2))
        scale = (module.running_var + module.eps).rsqrt().reshape(shape).to(inputs.dtype)
        normalised = (inputs - module.running_mean.reshape(shape).to(inputs.dtype)) * scale
        positions = tuple(range(2, inputs.ndim))

        def terms(grads: Tensor) -> Terms:
            weight = grads * normalised
            return {
                "weight": Direct(batch.total(weight.sum(dim=positions) if positions else weight)),
                "bias": Direct(batch.total(grads.sum(dim=positions) if positions else grads)),
            }

        return terms
