"""The state of a head's training in one file, from which a killed run goes on to the same weights, bit by bit."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor, nn

from models.core.atomic import write_bytes
from models.core.errors import DataError
from models.core.method import State
from models.training.head_curve import CurvePoint

FILE = "training.safetensors"
RECORD = "record"  # key of the JSON part in the file: one file, so that weights and record cannot come apart
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # AdamW's, of each parameter


@dataclass(frozen=True, slots=True)
class Progress:
    """Trainable tensors and their optimiser after `step` steps; `best` are the tensors of the best check so far."""

    parameters: dict[str, nn.Parameter]
    optimiser: torch.optim.AdamW
    best: State
    curve: tuple[CurvePoint, ...]
    step: int


def save(progress: Progress, folder: Path, key: Mapping[str, Any]) -> None:
    """`key` says what is trained on what, and how; none of it may differ when the training goes on."""
    record = {"key": key, "step": progress.step, "curve": [asdict(point) for point in progress.curve]}
    tensors = dict(_named(progress))
    write_bytes(folder / FILE, safetensors.torch.save(tensors, metadata={RECORD: json.dumps(record)}))


def load(fresh: Progress, folder: Path, key: Mapping[str, Any]) -> Progress:
    """`fresh` taken to where the training in `folder` was saved, or as it is where there is none.

    Raises DataError where that is the training of another head, or on other rows.
    """
    path = folder / FILE
    if not path.exists():
        return fresh
    with safe_open(path, framework="pt") as file:
        record = json.loads(file.metadata()[RECORD])
    if record["key"] != key:
        differ = [name for name in key if record["key"].get(name) != key[name]]
        raise DataError(f"{folder} holds another training, with other {', '.join(differ)}: give an empty folder")
    tensors = safetensors.torch.load_file(path)
    _restore(fresh, tensors)
    best = {name: tensors[f"best.{name}"] for name in fresh.best}
    return Progress(
        fresh.parameters, fresh.optimiser, best, tuple(CurvePoint(**point) for point in record["curve"]), record["step"]
    )


def _named(progress: Progress) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in progress.parameters.items():
        yield f"now.{name}", parameter.detach()
        yield f"best.{name}", progress.best[name]
        for moment in MOMENTS:
            yield f"{moment}.{name}", progress.optimiser.state[parameter][moment]


def _restore(fresh: Progress, tensors: Mapping[str, Tensor]) -> None:
    for name, parameter in fresh.parameters.items():
        parameter.data.copy_(tensors[f"now.{name}"])
        fresh.optimiser.state[parameter] = {
            moment: tensors[f"{moment}.{name}"].to(parameter.device) for moment in MOMENTS
        }
