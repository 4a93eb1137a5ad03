"""Untrained networks: their first weights depend on a seed alone."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from models.backbones import backbone_kind
from models.core.errors import UnknownNameError
from models.training.classifier.randomness import seed_for

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

# What becomes of each weight of a linear layer or convolution; their biases become 0.
INITIALS: dict[str, Callable[[Tensor], Tensor]] = {
    "he": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
    "xavier": nn.init.xavier_normal_,
    "orthogonal": nn.init.orthogonal_,
}
AS_BUILT = "as_built"  # as the library that the network comes from has it


def initial_network(kind: str, name: str, arguments: dict[str, Any], scheme: str, seed: int) -> nn.Module:
    """In eval mode. `he` is Normal(0, 2 / fan_in) (He et al. 2015), as in arXiv 2412.17411.

    Raises UnknownNameError for an unknown kind or scheme, UnsupportedError for a network that cannot be built.
    """
    if scheme not in (AS_BUILT, *INITIALS):
        raise UnknownNameError("initial weights", scheme, (AS_BUILT, *INITIALS))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(seed, "weights"))
        network = backbone_kind(kind).build(name, arguments)
        if scheme != AS_BUILT:
            for module in network.modules():
                if isinstance(module, WEIGHTED):
                    _initialise(module, INITIALS[scheme])
    return network


def _initialise(module: nn.Module, initial: Callable[[Tensor], Tensor]) -> None:
    initial(module.weight)  # type: ignore[arg-type]
    if module.bias is not None:
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]
