"""Feedback alignment (Lillicrap et al. 2016): errors go backwards through fixed random weights, not the layer's own."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from models.core.errors import UnsupportedError
from models.training.classifier.randomness import generator_for

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class _Feedback(torch.autograd.Function):
    """A linear layer whose input gradient is taken through `feedback` (out, in) instead of `weight` (out, in)."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, feedback: Tensor) -> Tensor:
        ctx.save_for_backward(inputs, feedback)
        return linear(inputs, weight, bias)

    @staticmethod
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        inputs, feedback = ctx.saved_tensors
        # Under autocast the error is bfloat16, and autocast does not reach into a backward pass.
        error = error.to(feedback.dtype)
        rows = error.flatten(0, -2)
        weight = rows.T @ inputs.flatten(0, -2).to(feedback.dtype)
        return (error @ feedback).to(inputs.dtype), weight, rows.sum(dim=0), None


@contextmanager
def learning_rule(network: nn.Module, rule: str, seed: int) -> Iterator[None]:
    """`backprop` changes nothing. `feedback_alignment` gives every linear layer fixed backward weights meanwhile.

    They are drawn as the released code of arXiv 2412.17411 draws its weights, Normal(0, 2 / fan_in), by `seed` and the
    layer's position. Raises UnsupportedError for a network with convolutions.
    """
    if rule == "backprop":
        yield
        return
    if any(isinstance(module, CONVOLUTIONS) for module in network.modules()):
        raise UnsupportedError("feedback_alignment is for networks of linear layers, such as howsure's perceptron")
    layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
    try:
        for position, layer in enumerate(layers):
            layer.forward = functools.partial(_forward, layer, _backward_weight(layer, seed, position))  # type: ignore[method-assign]
        yield
    finally:
        for layer in layers:
            del layer.forward


def _backward_weight(layer: nn.Linear, seed: int, position: int) -> Tensor:
    drawn = torch.randn(layer.weight.shape, generator=generator_for(seed, "feedback", position))
    deviation: float = (2 / layer.in_features) ** 0.5
    return (drawn * deviation).to(layer.weight.device)


def _forward(layer: nn.Linear, feedback: Tensor, inputs: Tensor) -> Tensor:
    return _Feedback.apply(inputs, layer.weight, layer.bias, feedback)  # type: ignore[no-any-return]
