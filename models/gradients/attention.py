"""torch's multi-head attention with projections that are layers of their own."""

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.core.errors import UnsupportedError


def expose_attention(network: nn.Module) -> nn.Module:
    """A copy on the same parameters in which each nn.MultiheadAttention has linear layers `in_proj` and `out_proj`.

    torch uses these weights without calling a module, so nothing else could see what they read. Self-attention without
    masks only: raises UnsupportedError for what is known to be more, when it is built or when it is called.
    """
    tensors = [*network.parameters(), *network.buffers()]
    exposed = copy.deepcopy(network, memo={id(tensor): tensor for tensor in tensors})
    for name, module in list(exposed.named_modules()):
        if isinstance(module, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer):
            raise UnsupportedError(f"{name}: {type(module).__name__} uses the weights of its attention itself")
        if type(module) is nn.MultiheadAttention:
            exposed.set_submodule(name, SelfAttention(module))
    return exposed


class SelfAttention(nn.Module):
    """softmax(q k' / sqrt(d)) v for each head, q, k and v out of one linear layer. In eval mode: no dropout."""

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        """Raises UnsupportedError for options that change the formula."""
        super().__init__()
        special = attention.bias_k is not None or attention.add_zero_attn or not attention.batch_first
        if special or attention.in_proj_weight is None:
            raise UnsupportedError("attention with batch_first=False, kdim, vdim, add_bias_kv or add_zero_attn")
        self.heads = attention.num_heads
        self.in_proj = _linear(attention.in_proj_weight, attention.in_proj_bias)
        self.out_proj = _linear(attention.out_proj.weight, attention.out_proj.bias)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = True, **masks: Tensor | None
    ) -> tuple[Tensor, None]:
        """(N, T, D) → (N, T, D). Raises UnsupportedError for cross-attention, masks, or if asked for the weights."""
        asked = need_weights or any(mask is not None for mask in masks.values())
        if query is not key or key is not value or asked:
            raise UnsupportedError("attention between two inputs, with masks, or that gives its weights away")
        rows, tokens, width = query.shape
        parts = self.in_proj(query).reshape(rows, tokens, 3, self.heads, width // self.heads)
        mixed = functional.scaled_dot_product_attention(*parts.permute(2, 0, 3, 1, 4).unbind(0))
        output: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(rows, tokens, width))
        return output, None


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """On the same parameters: copies would take memory and fall out of step."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device=torch.device("meta"))
    layer.register_parameter("weight", cast(nn.Parameter, weight))
    layer.register_parameter("bias", cast(nn.Parameter | None, bias))
    return layer
