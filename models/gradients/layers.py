"""The layers of a network in the order of a forward pass: what the layer weights of REGrad count by."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.core.errors import UnsupportedError
from models.gradients import layer_kind
from models.gradients.layer_kind import LayerKind


@dataclass(frozen=True, slots=True)
class Member:
    """A module with parameters of its own, and the layer (counted from 0) that it belongs to."""

    name: str
    module: nn.Module
    kind: LayerKind
    layer: int


@dataclass(frozen=True, slots=True)
class Layers:
    """`names` has the module that each layer is called by; `members` are in forward order.

    `shared` are the ids of parameters with more than one use, and the layer of the last: their gradients add up.
    """

    names: tuple[str, ...]
    members: tuple[Member, ...]
    shared: Mapping[int, int]
    bytes_a_row: int  # what a recorded forward pass holds, about

    def __len__(self) -> int:
        return len(self.names)

    def last(self, count: int) -> tuple[Member, ...]:
        """The members of the last `count` layers."""
        return tuple(member for member in self.members if member.layer >= len(self) - count)


@torch.no_grad()
def find_layers(network: nn.Module, forward: Callable[[], Tensor]) -> Layers:
    """Follow one forward pass. Weight and bias are one layer, and so are a linear layer and the norms after it.

    Raises UnsupportedError for a module whose gradients are not known, or with parameters that the pass did not use.
    """
    owners = {
        module: (name, layer_kind(name, module))
        for name, module in network.named_modules()
        if any(True for _ in module.parameters(recurse=False))
    }
    called: Counter[nn.Module] = Counter()
    held = 0

    def after(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal held
        called[module] += 1
        held += output.nbytes + inputs[0].nbytes * _copies(module)

    hooks = [module.register_forward_hook(after) for module in owners]
    try:
        rows = len(forward())
    finally:
        for hook in hooks:
            hook.remove()
    unused = [name for module, (name, _) in owners.items() if module not in called]
    if unused:
        raise UnsupportedError(f"a forward pass does not call {', '.join(unused)}, so their gradients are not known")
    names: list[str] = []
    members = []
    for module in called:
        name, kind = owners[module]
        if kind.carrier or not names:
            names.append(name)
        members.append(Member(name, module, kind, len(names) - 1))
    return Layers(tuple(names), tuple(members), _shared(members, called), max(1, held // rows))


def _copies(module: nn.Module) -> int:
    """How often a layer reads each value of its input: a convolution in as many patches as its kernel is large."""
    if not isinstance(module, nn.Conv2d) or module.groups == module.in_channels:
        return 1
    return module.kernel_size[0] * module.kernel_size[1]


def _shared(members: list[Member], called: Mapping[nn.Module, int]) -> dict[int, int]:
    uses: Counter[int] = Counter()
    last: dict[int, int] = {}
    for member in members:
        for parameter in member.module.parameters(recurse=False):
            uses[id(parameter)] += called[member.module]
            last[id(parameter)] = member.layer
    return {parameter: last[parameter] for parameter, count in uses.items() if count > 1}
