"""Which parameters of a network are trained: all, or those of its last linear layer."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn

from models.backbones.backbone import Backbone


def head_name(network: nn.Module, cut: Callable[[nn.Module], Backbone]) -> str:
    """The name of the last linear layer, where `cut` cuts. Raises UnsupportedError as `cut` does."""
    other = copy.deepcopy(network)
    names = {id(module): name for name, module in other.named_modules()}
    head: str = names[id(cut(other).head)]
    return head


@contextmanager
def trained_part(network: nn.Module, scope: str, head: str) -> Iterator[list[nn.Parameter]]:
    """The parameters to train, which alone need gradients meanwhile."""
    kept = {name: parameter.requires_grad for name, parameter in network.named_parameters()}
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(scope == "all" or name.startswith(f"{head}."))
    try:
        yield [parameter for parameter in network.parameters() if parameter.requires_grad]
    finally:
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(kept[name])


def training_mode(network: nn.Module, scope: str) -> None:
    """Batch norms of a part that is not trained keep their statistics, and its dropout is off."""
    network.train(scope == "all")
