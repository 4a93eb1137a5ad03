"""A small classifier in two halves, as the fast and the exact form see it."""

from collections import OrderedDict

import torch
from torch import nn

from models.core.outputs import LinearHead
from models.gradients.fast import FastGradients
from models.gradients.layers import find_layers
from tests.models.gradients.architectures import unlike_new

CLASSES = 7


def small_network(*, diagonal: bool = True) -> nn.Sequential:
    """`trunk` and `head`; where it is not `diagonal`, a layer norm mixes the channels after the last convolution."""
    torch.manual_seed(0)
    trunk = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 12, 1, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        *([] if diagonal else [nn.LayerNorm(12)]),
    )
    network = nn.Sequential(OrderedDict(trunk=trunk, head=nn.Linear(12, CLASSES)))
    unlike_new(network)
    network.head.weight *= 4
    return network.double()


def images(count: int = 6) -> torch.Tensor:
    return torch.randn(count, 3, 9, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def fast_gradients(network, plan, dtype=torch.float64) -> FastGradients:
    trunk, head = network.trunk, network.head
    layers = find_layers(trunk, lambda: trunk(images().to(dtype)))
    return FastGradients(trunk, layers, LinearHead(head.weight, head.bias), plan, images(2).to(dtype))
