"""Small networks for small images, to be trained from scratch: `resnet9`, `resnet` and `perceptron`."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

from models.backbones.backbone import Backbone, BackboneKind, ImportedNetwork, cut_at, last_linear
from models.core.errors import UnknownNameError, UnsupportedError

DEEPEST = 1202  # layers, as in He et al. 2016: a layer takes memory and time even before it has weights


class _Convolution(nn.Module):
    def __init__(self, before: int, width: int, *, stride: int = 1, pooled: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.pooled = pooled

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.conv(maps)
        # Pooled first: a quarter of the values are left to normalise.
        normalised: Tensor = self.norm(max_pool2d(maps, 2) if self.pooled else maps)
        return relu(normalised)


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(_Convolution(width, width), _Convolution(width, width))

    def forward(self, maps: Tensor) -> Tensor:
        inner: Tensor = self.inner(maps)
        return maps + inner


class ResNet9(nn.Module):
    """(N, 3, H, W) → logits, H and W at least 8; two residual blocks, as in the DAWNBench entries for CIFAR-10.

    `widths` are the channels after the first convolution and after each of three that halve the map.
    """

    def __init__(self, num_classes: int = 10, widths: Sequence[int] = (64, 128, 256, 512)) -> None:
        super().__init__()
        first, second, third, fourth = widths
        self.stem = _Convolution(3, first)
        self.layer1 = nn.Sequential(_Convolution(first, second, pooled=True), _Residual(second))
        self.layer2 = _Convolution(second, third, pooled=True)
        self.layer3 = nn.Sequential(_Convolution(third, fourth, pooled=True), _Residual(fourth))
        self.fc = nn.Linear(fourth, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.layer3(self.layer2(self.layer1(self.stem(images))))
        logits: Tensor = self.fc(maps.amax(dim=(2, 3)))
        return logits


class _Block(nn.Module):
    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = _Convolution(before, width, stride=stride)
        self.conv = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, maps: Tensor) -> Tensor:
        return relu(self.norm(self.conv(self.first(maps))) + self.shortcut(maps))


class ResNet(nn.Module):
    """(N, 3, H, W) → logits; `depth` is 6n + 2 (He et al. 2015, section 4.2), `width` that of the first third."""

    def __init__(self, num_classes: int = 10, depth: int = 20, width: int = 16) -> None:
        super().__init__()
        if not 8 <= depth <= DEEPEST or depth % 6 != 2:
            raise UnsupportedError(f"resnet has 6n + 2 layers, as in 8, 14, 20, at most {DEEPEST}; got depth {depth}")
        self.stem = _Convolution(3, width)
        blocks: list[nn.Module] = []
        before = width
        for stage in range(3):
            for block in range(depth // 6):
                blocks.append(_Block(before, width * 2**stage, 2 if stage and not block else 1))
                before = width * 2**stage
        self.layers = nn.Sequential(*blocks)
        self.fc = nn.Linear(before, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.layers(self.stem(images)).mean(dim=(2, 3)))
        return logits


class Perceptron(nn.Module):
    """(N, 3, side, side) → logits by `depth` linear layers: the network of arXiv 2412.17411, section 1.2 of its code.

    A hidden block is Linear, ReLU, BatchNorm, in this order.
    """

    def __init__(self, num_classes: int = 10, depth: int = 6, width: int = 256, side: int = 32) -> None:
        super().__init__()
        if not 2 <= depth <= DEEPEST:
            raise UnsupportedError(f"perceptron has 2 to {DEEPEST} linear layers, got depth {depth}")
        before = 3 * side * side
        blocks: list[nn.Module] = [nn.Flatten()]
        for _ in range(depth - 1):
            blocks += [nn.Linear(before, width), nn.ReLU(), nn.BatchNorm1d(width)]
            before = width
        self.layers = nn.Sequential(*blocks)
        self.fc = nn.Linear(before, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.layers(images))
        return logits


NETWORKS: dict[str, Callable[..., nn.Module]] = {"resnet9": ResNet9, "resnet": ResNet, "perceptron": Perceptron}


def build(name: str, arguments: dict[str, Any]) -> nn.Module:
    """Raises UnknownNameError, and UnsupportedError for arguments that the network does not take."""
    if name not in NETWORKS:
        raise UnknownNameError("network of howsure", name, NETWORKS)
    try:
        return NETWORKS[name](**arguments).eval()
    except (TypeError, ValueError) as error:
        raise UnsupportedError(f"{name} does not take {arguments}: {error}") from error


def load(source: str) -> ImportedNetwork:
    raise UnsupportedError(f"{source}: howsure's own networks come without weights: train one by a job `train`")


def cut(network: nn.Module) -> Backbone:
    return cut_at(network, last_linear(network))


KIND = BackboneKind(build=build, load=load, cut=cut)
