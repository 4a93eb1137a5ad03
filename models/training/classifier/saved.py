"""The state of a training in one file, from which a killed run goes on to the same weights, bit by bit."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor, nn

from models.core.atomic import write_bytes
from models.core.errors import DataError

RECORD = "record"  # key of the JSON part in the file: one file, so that tensors and record cannot come apart
SAVE_SECONDS = 20.0
State = dict[str, Tensor]


@dataclass(slots=True)
class Saved:
    """One phase of a training on disk, or nowhere where `path` is None. `key` says what must not have changed."""

    path: Path | None
    key: Mapping[str, Any]
    _last: float = field(default_factory=time.monotonic)

    def load(self) -> tuple[State, dict[str, Any]] | None:
        """Tensors and record as they were saved, None where nothing was.

        Raises DataError where what lies there is of another training.
        """
        if self.path is None or not self.path.exists():
            return None
        with safe_open(self.path, framework="pt") as file:
            found = json.loads(file.metadata()[RECORD])
        if found["key"] != self.key:
            differ = [name for name in self.key if found["key"].get(name) != self.key[name]]
            raise DataError(f"{self.path} is of another training, with other {', '.join(differ)}: give an empty folder")
        return safetensors.torch.load_file(self.path), found["state"]

    def save(self, tensors: State, state: Mapping[str, Any]) -> None:
        if self.path is not None:
            record = json.dumps({"key": self.key, "state": state})
            self.path.parent.mkdir(parents=True, exist_ok=True)
            content = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
            write_bytes(self.path, safetensors.torch.save(content, metadata={RECORD: record}))
        self._last = time.monotonic()

    def is_due(self) -> bool:
        """Whether so much would be lost that saving is worth its time."""
        return self.path is not None and time.monotonic() - self._last > SAVE_SECONDS


def network_state(network: nn.Module) -> State:
    """Parameters and buffers, copied."""
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> State:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def part(prefix: str, tensors: Mapping[str, Tensor]) -> State:
    """What `under` has put under this prefix."""
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def optimiser_state(optimiser: torch.optim.Optimizer) -> State:
    """Moments by the parameter's position; `restore_optimiser` takes them back."""
    return {
        f"{position}.{name}": tensor
        for position, moments in optimiser.state_dict()["state"].items()
        for name, tensor in moments.items()
        if isinstance(tensor, Tensor)
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        position, _, moment = name.partition(".")
        moments.setdefault(int(position), {})[moment] = _laid_out_as(parameters[int(position)], tensor)
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": moments, "param_groups": groups})


def _laid_out_as(parameter: Tensor, moment: Tensor) -> Tensor:
    """The fused optimisers go through memory as it lies: a moment in another order than its weights' is misread."""
    return moment if moment.shape != parameter.shape else torch.empty_like(parameter).copy_(moment)
