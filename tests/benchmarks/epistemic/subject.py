"""The networks that the epistemic benchmarks are about, each with its trunk, its head and its gradients."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from models.backbones import backbone_kind
from models.backbones.backbone import Backbone, cut_at
from models.backbones.prepared import build_network
from models.checkpoints.efficientnet_lite0 import INPUT_SPEC, plan
from models.checkpoints.package_weights import package_weights
from models.gradients.class_gradients import ClassGradients
from models.gradients.layers import find_layers
from tests.benchmarks.epistemic.strips import STD, normalised

ROWS_AT_A_TIME = 50


@dataclass(frozen=True, slots=True)
class Subject:
    """`backbone` is a cut copy of `network`; `images` maps pixels (N, 3, H, W) uint8 to the network's input."""

    name: str
    network: nn.Module
    backbone: Backbone
    gradients: ClassGradients
    images: Callable[[Tensor], Tensor]
    std: tuple[float, float, float]

    @torch.no_grad()
    def features(self, pixels: Tensor) -> Tensor:
        """(N, D), what the last layer reads."""
        return torch.cat([self.backbone.trunk(self.images(part)) for part in pixels.split(ROWS_AT_A_TIME)])

    @torch.no_grad()
    def logits(self, features: Tensor) -> Tensor:
        """(N, C) in float64, where the probabilities of a certain network still differ."""
        head = self.backbone.head
        return features.double() @ head.weight.double().T + head.bias.double()


def cifar10_subject(network: nn.Module, name: str = "ResNet-20, CIFAR-10") -> Subject:
    """A network of `cifar10_network`, trained or not."""
    network.eval().requires_grad_(False)
    cut = copy.deepcopy(network)
    gradients = _gradients(network, torch.zeros(2, 3, 32, 32))
    return Subject(name, network, cut_at(cut, cut.fc), gradients, normalised, STD)


def lite0_subject(data: Path) -> Subject:
    """EfficientNet-Lite0 as it is shipped, in float32, before any folding."""
    record = plan(data).recipe.backbone
    network = build_network(record, package_weights(record))
    cut = backbone_kind(record.kind).cut(copy.deepcopy(network))
    gradients = _gradients(network, torch.zeros(2, 3, INPUT_SPEC.height, INPUT_SPEC.width))
    return Subject("EfficientNet-Lite0, ImageNet-1k", network, cut, gradients, _lite0_images, INPUT_SPEC.std)


def _lite0_images(pixels: Tensor) -> Tensor:
    return INPUT_SPEC.tensor(pixels.permute(0, 2, 3, 1).numpy(), torch.device("cpu"), torch.float32)


def _gradients(network: nn.Module, example: Tensor) -> ClassGradients:
    return ClassGradients(network, find_layers(network, lambda: network(example)), network)
