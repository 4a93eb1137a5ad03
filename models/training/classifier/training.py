"""Training a classifier: an optional noise phase, then epochs over the images. Read `train_classifier` first."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.training.classifier.data_phase import DataPhase, EpochPoint
from models.training.classifier.feedback import learning_rule
from models.training.classifier.noise_warmup import NoiseRecord, warm_up
from models.training.classifier.plan import TrainPlan
from models.training.classifier.rows import PixelRows
from models.training.classifier.saved import Saved
from models.training.classifier.scope import trained_part
from models.training.classifier.sharing import ALONE, Sharing

NOISE, DATA = "noise", "data"
Told = Callable[[str, int, int, Mapping[str, Any] | None], None]  # phase, steps done, steps in all, a check if any


@dataclass(frozen=True, slots=True)
class TrainedClassifier:
    """`state` is the network's state dict on the CPU; `noise` is None without a noise phase."""

    state: dict[str, Tensor]
    curve: tuple[EpochPoint, ...]
    noise: NoiseRecord | None
    stopped: str


def train_classifier(
    network: nn.Module,
    head: str,
    rows: PixelRows,
    held_out: PixelRows,
    plan: TrainPlan,
    device: torch.device,
    folder: Path | None,
    told: Told,
    sharing: Sharing = ALONE,
) -> TrainedClassifier:
    """Train `network`, whose last linear layer is called `head`, in place; `told` is called after every step.

    What it draws depends on `plan.seed` and the step alone, and its state is saved in `folder` from time to time and
    after each epoch: a run that ended anyhow, as by an error from `told`, goes on from there to equal weights on the
    same machine and number of threads. `sharing` is for a rank of several, which all call this: see `train_on_several`.
    Raises DataError where `folder` is of another training, ValueError where the loss is no longer finite.
    """
    network.to(device).to(memory_format=torch.channels_last)
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        noise = _noise_phase(network, head, rows, held_out, plan, device, folder, told, sharing)
        saved = Saved(_file(folder, DATA), _key(network, rows, held_out, plan))
        with (
            trained_part(network, plan.scope, head) as parameters,
            learning_rule(network, plan.learning_rule, plan.seed),
        ):
            phase = DataPhase(network, parameters, rows, held_out, plan, device, sharing)
            stopped = phase.run(saved, lambda step, steps, point: told(DATA, step, steps, point))
    network.eval()
    return TrainedClassifier(phase.result(), phase.curve, noise, stopped)


def _noise_phase(
    network: nn.Module,
    head: str,
    rows: PixelRows,
    held_out: PixelRows,
    plan: TrainPlan,
    device: torch.device,
    folder: Path | None,
    told: Told,
    sharing: Sharing,
) -> NoiseRecord | None:
    if plan.noise_warmup is None:
        return None
    # The data phase may differ: it decides nothing here.
    first = replace(plan, epochs=1)
    saved = Saved(_file(folder, NOISE), _key(network, rows, held_out, first))
    return warm_up(
        network,
        head,
        held_out,
        plan,
        device,
        saved,
        lambda step, steps, check: told(NOISE, step, steps, check),
        sharing,
    )


def _file(folder: Path | None, phase: str) -> Path | None:
    return None if folder is None else folder / f"{phase}.safetensors"


def _key(network: nn.Module, rows: PixelRows, held_out: PixelRows, plan: TrainPlan) -> dict[str, Any]:
    shapes = [f"{name} {tuple(tensor.shape)}" for name, tensor in network.state_dict().items()]
    labels = [hashlib.sha256(part.labels.numpy().tobytes()).hexdigest() for part in (rows, held_out)]
    spec = rows.spec.to_dict()
    return {
        "plan": asdict(plan),
        "network": hashlib.sha256("\n".join(shapes).encode()).hexdigest(),
        "rows": labels,
        "input_spec": spec,
    }
