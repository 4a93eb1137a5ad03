"""Layer normalisation, also over the channels of maps, and its form without a mean."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.gradients.layer_kind import Batch, LayerKind, Terms
from models.gradients.scale_and_shift import channel_terms, feature_terms


class LayerNormKind(LayerKind):
    """y = weight · (x - mean) / sqrt(var + eps) + bias, mean and var those of the last dimensions."""

    handles = (
        "torch.nn.modules.normalization.LayerNorm",
        "timm.layers.norm.LayerNorm",
        "timm.layers.norm.LayerNormFp32",
        "timm.layers.norm.LayerNorm2d",
        "timm.layers.norm.LayerNorm2dFp32",
        "torchvision.models.convnext.LayerNorm2d",
        "transformers.models.convnext.modeling_convnext.ConvNextLayerNorm",
    )

    def held(self, module: nn.Module, inputs: Tensor) -> int:
        return inputs.nbytes

    def read(self, module: nn.Module, inputs: Tensor, batch: Batch) -> Callable[[Tensor], Terms]:
        assert isinstance(module, nn.LayerNorm)
        shape, eps = module.normalized_shape, module.eps
        if type(module).__name__.startswith("LayerNorm2d") or getattr(module, "data_format", "") == "channels_first":
            normalised = functional.layer_norm(inputs.permute(0, 2, 3, 1), shape, eps=eps)
            return channel_terms(normalised.permute(0, 3, 1, 2), batch, module.bias is not None)
        return feature_terms(functional.layer_norm(inputs, shape, eps=eps), shape, batch, module.bias is not None)


class RootMeanSquareNormKind(LayerKind):
    """y = weight · x / sqrt(mean x² + eps), the mean over the last dimensions."""

    handles = (
        "torch.nn.modules.normalization.RMSNorm",
        "timm.layers.norm.RmsNorm",
        "transformers.models.llama.modeling_llama.LlamaRMSNorm",
        "transformers.models.mistral.modeling_mistral.MistralRMSNorm",
        "transformers.models.qwen2.modeling_qwen2.Qwen2RMSNorm",
        "transformers.models.qwen3.modeling_qwen3.Qwen3RMSNorm",
    )

    def held(self, module: nn.Module, inputs: Tensor) -> int:
        return inputs.nbytes

    def read(self, module: nn.Module, inputs: Tensor, batch: Batch) -> Callable[[Tensor], Terms]:
        weight = module.get_parameter("weight")
        eps = getattr(module, "variance_epsilon", None)
        if eps is None:
            normalised = functional.rms_norm(inputs, tuple(weight.shape), eps=module.eps)  # type: ignore[arg-type]
        else:  # transformers takes the mean in float32, whatever the precision of the network
            exact = inputs.float()
            normalised = (exact * torch.rsqrt(exact.square().mean(dim=-1, keepdim=True) + eps)).to(inputs.dtype)
        return feature_terms(normalised, tuple(weight.shape), batch, bias=False)
