"""A classifier cut in two: the trunk gives features, the head (its last linear layer) gives logits."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.core.errors import UnsupportedError
from models.core.input_spec import InputSpec
from models.core.method import Dimensions


@dataclass(frozen=True, slots=True)
class Backbone:
    """`head(trunk(images))` equals the network it was cut from: (N, 3, H, W) → features (N, D) → logits (N, C)."""

    trunk: nn.Module
    head: nn.Linear

    @property
    def dimensions(self) -> Dimensions:
        return Dimensions(classes=self.head.out_features, features=self.head.in_features)


@dataclass(frozen=True, slots=True)
class ImportedNetwork:
    """A network with weights, and all that is needed to build and feed it again without its source."""

    network: nn.Module
    name: str
    arguments: dict[str, Any]
    input_spec: InputSpec
    classes: tuple[str, ...] | None  # None when the source does not name them


@dataclass(frozen=True, slots=True)
class BackboneKind:
    """One library that networks come from.

    `build(name, arguments)` makes the network with random weights and never touches the network or the disk;
    `load(source)` takes a hub name or a local folder; `cut` says where features and the last linear layer are;
    `for_size(trunk, images, keep)` gives a trunk that computes the same on inputs of the size of `images`, only faster;
    the weights of the modules named in `keep` stay as they are.
    """

    build: Callable[[str, dict[str, Any]], nn.Module]
    load: Callable[[str], ImportedNetwork]
    cut: Callable[[nn.Module], Backbone]
    for_size: Callable[[nn.Module, Tensor, Collection[str]], nn.Module] = lambda trunk, images, keep: trunk


def cut_at(network: nn.Module, head: object, *, output: Callable[[Any], Tensor] | None = None) -> Backbone:
    """Replace `head` inside the network by the identity, so that what is left is the trunk.

    `output` picks the tensor where the network returns more than one. Raises UnsupportedError unless `head` is one
    linear layer of the network, with bias.
    """
    if not isinstance(head, nn.Linear) or head.bias is None:
        found = "nn.Linear without bias" if isinstance(head, nn.Linear) else type(head).__name__
        raise UnsupportedError(f"{type(network).__name__}: the last layer must be nn.Linear with bias, it is {found}")
    names = [name for name, module in network.named_modules(remove_duplicate=False) if module is head]
    if len(names) != 1:
        raise UnsupportedError(f"{type(network).__name__}: the last linear layer stands in {len(names)} places")
    network.set_submodule(names[0], nn.Identity())
    return Backbone(trunk=network if output is None else _Picked(network, output), head=head)


def last_linear(network: nn.Module) -> nn.Linear:
    """The linear layer registered last. Raises UnsupportedError when there is none."""
    layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise UnsupportedError(f"{type(network).__name__} has no linear layer to read features from")
    return layers[-1]


class _Picked(nn.Module):
    def __init__(self, network: nn.Module, output: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.network = network
        self.output = output

    def forward(self, images: Tensor) -> Tensor:
        return self.output(self.network(images))


@torch.no_grad()
def check_cut(network: nn.Module, cut: Callable[[nn.Module], Backbone], images: Tensor) -> Backbone:
    """Cut, and prove on `images` that nothing changed. Raises UnsupportedError when something follows the head."""
    network.eval()
    before = network(images)
    backbone = cut(network)
    features = backbone.trunk(images)
    whole = before if isinstance(before, Tensor) else before.logits
    if features.ndim != 2 or not torch.allclose(backbone.head(features), whole, rtol=1e-4, atol=1e-5):
        raise UnsupportedError(f"{type(network).__name__}: logits are not the last linear layer of pooled features")
    return backbone
