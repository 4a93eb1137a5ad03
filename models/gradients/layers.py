"""The layers of a network in the order of a forward pass: what the layer weights of REGrad count by."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from models.core.errors import UnsupportedError
from models.gradients import layer_kind
from models.gradients.broadcast import BroadcastKind
from models.gradients.followed import Followed, follow
from models.gradients.layer_kind import LayerKind


@dataclass(frozen=True, slots=True)
class Member:
    """A module with parameters of its own, and the layer (counted from 0) that it belongs to."""

    name: str
    module: nn.Module
    kind: LayerKind | BroadcastKind
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


def find_layers(network: nn.Module, forward: Callable[[], Tensor]) -> Layers:
    """Follow one forward pass. Weight and bias are one layer, and so are a linear layer and the norms after it.

    Class tokens and position embeddings belong to the layer before their first use. Nothing else may run the network
    meanwhile. Raises UnsupportedError for a module whose gradients are not known, for parameters that the pass did not
    use or that other code uses, and for modules that are not given one row an input.
    """
    owners = {
        module: (name, _kind(name, module))
        for name, module in network.named_modules()
        if any(True for _ in module.parameters(recurse=False))
    }
    followed = follow({module: kind for module, (_, kind) in owners.items()}, forward)
    unused = [name for module, (name, _) in owners.items() if module not in followed.uses]
    if unused:
        raise UnsupportedError(f"a forward pass does not call {', '.join(unused)}, so their gradients are not known")
    names: list[str] = []
    members = []
    for module in followed.uses:
        name, kind = owners[module]
        if kind.carrier or not names:
            names.append(name)
        members.append(Member(name, module, kind, len(names) - 1))
    return Layers(tuple(names), tuple(members), _shared(members, followed), followed.bytes_a_row)


def _kind(name: str, module: nn.Module) -> LayerKind | BroadcastKind:
    kind = layer_kind(name, module)
    if isinstance(kind, BroadcastKind):
        kind.parameters(module)  # refuses those that are not known
    return kind


def _shared(members: list[Member], followed: Followed) -> dict[int, int]:
    uses: Counter[int] = Counter()
    last: dict[int, int] = {}
    for member in members:
        for parameter in member.module.parameters(recurse=False):
            uses[id(parameter)] += followed.uses[member.module]
            last[id(parameter)] = member.layer
    return {parameter: last[parameter] for parameter, count in uses.items() if count > 1}
