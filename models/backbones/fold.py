"""Folding batch normalisation into the convolution before it: the same function with a third of the layers.

For inference only. The folded network has other parameters, so layers that gradients are taken of are left alone.
"""

import copy
from collections import Counter
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


@torch.no_grad()
def fold_batch_norm(network: nn.Module, images: Tensor, keep: Collection[str] = ()) -> nn.Module:
    """A copy in eval mode with every conv → batch-norm pair folded, or the network itself if that changed its output.

    Modules named in `keep` stay as they are.

    Pairs are found by following tensors through one float32 forward pass of `images`, not by the order of names, and
    the result is compared on the same images.
    """
    folded = copy.deepcopy(network).eval()
    expected = network.eval()(images)
    for convolution, norm_name in _pairs(folded, images):
        if norm_name not in keep:
            _fold(folded, convolution, norm_name)
    scale = expected.abs().amax().clamp_min(1.0)
    return folded if bool((folded(images) - expected).abs().amax() <= 1e-4 * scale) else network


def _pairs(network: nn.Module, images: Tensor) -> list[tuple[nn.Conv2d, str]]:
    names = {module: name for name, module in network.named_modules()}
    produced: dict[int, tuple[nn.Conv2d, Tensor]] = {}
    pairs: list[tuple[nn.Conv2d, nn.Module]] = []
    calls: Counter[nn.Module] = Counter()

    def after_convolution(module: nn.Module, _: Any, output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        calls[module] += 1
        produced[id(output)] = (module, output)

    def before_norm(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        calls[module] += 1
        if id(inputs[0]) in produced:
            pairs.append((produced[id(inputs[0])][0], module))

    hooks = [
        module.register_forward_hook(after_convolution)
        if isinstance(module, nn.Conv2d)
        else module.register_forward_pre_hook(before_norm)
        for module in network.modules()
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d)
    ]
    network(images)
    for hook in hooks:
        hook.remove()
    # A layer that stands in two places cannot take up what follows, or go, in one of them.
    return [(convolution, names[norm]) for convolution, norm in pairs if calls[convolution] == calls[norm] == 1]


def _fold(network: nn.Module, convolution: nn.Conv2d, norm_name: str) -> None:
    norm = network.get_submodule(norm_name)
    assert isinstance(norm, nn.BatchNorm2d)
    if norm.running_mean is None or norm.running_var is None:
        return
    weight, bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    convolution.weight, convolution.bias = weight, bias
    # timm's BatchNormAct2d carries the activation that follows it; a plain batch norm leaves nothing behind.
    network.set_submodule(norm_name, getattr(norm, "act", nn.Identity()))
