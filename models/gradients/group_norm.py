"""Group normalisation, with or without an activation after it."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from models.gradients.layer_kind import Batch, LayerKind, Terms
from models.gradients.scale_and_shift import channel_terms


class GroupNormKind(LayerKind):
    """y = weight · (x - mean) / sqrt(var + eps) + bias, mean and var those of the channel's group in that input."""

    handles = (
        "torch.nn.modules.normalization.GroupNorm",
        "timm.layers.norm.GroupNorm",
        "timm.layers.norm.GroupNorm1",
        "timm.layers.norm_act.GroupNormAct",
    )

    def output_module(self, module: nn.Module) -> nn.Module:
        drop = getattr(module, "drop", None)  # as in timm's batch normalisation
        return drop if isinstance(drop, nn.Module) else module

    def held(self, module: nn.Module, inputs: Tensor) -> int:
        return inputs.nbytes

    def read(self, module: nn.Module, inputs: Tensor, batch: Batch) -> Callable[[Tensor], Terms]:
        assert isinstance(module, nn.GroupNorm)
        return channel_terms(functional.group_norm(inputs, module.num_groups, eps=module.eps), batch, bias=True)
