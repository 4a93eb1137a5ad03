"""Networks at the start of their data phase; a warm-up is done once, whatever number of trainings begin from it."""

import fcntl
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.backbones import backbone_kind
from models.training.classifier.initial import initial_network
from models.training.classifier.noise_warmup import NoiseRecord, warm_up
from models.training.classifier.plan import NoiseWarmUp, TrainPlan
from models.training.classifier.rows import PixelRows
from models.training.classifier.saved import Saved
from models.training.classifier.scope import head_name
from models.training.classifier.sharing import ALONE
from models.training.classifier.training import TrainedClassifier, train_classifier

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Start:
    """An untrained network and the noise that it is warmed up on, if any: all but the seed that its weights follow."""

    kind: str
    name: str
    arguments: tuple[tuple[str, int], ...] = ()
    scheme: str = "he"
    noise: NoiseWarmUp | None = None
    learning_rule: str = "backprop"

    def network(self, seed: int) -> nn.Module:
        network = initial_network(self.kind, self.name, dict(self.arguments), self.scheme, seed)
        return network.to(memory_format=torch.channels_last)

    @property
    def head(self) -> str:
        return head_name(self.network(0), backbone_kind(self.kind).cut)


def warmed(start: Start, seed: int, unseen: PixelRows, folder: Path) -> tuple[nn.Module, NoiseRecord | None]:
    """Its weights after the noise phase lie in `folder`, where an equal one is found again.

    A training from here without a noise phase ends as one with it would (`train_classifier`, same seed).
    """
    network = start.network(seed)
    if start.noise is None:
        return network, None
    plan = TrainPlan(noise_warmup=start.noise, learning_rule=start.learning_rule, precision="float32", seed=seed)
    key = {"start": json.loads(json.dumps(asdict(start))), "seed": seed}
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder / f"{name}.lock"), torch.random.fork_rng(devices=[]):
        saved = Saved(folder / f"{name}.safetensors", key)
        return network, warm_up(network, start.head, unseen, plan, CPU, saved, lambda *step: None, ALONE)


def trained(
    start: Start, plan: TrainPlan, rows: PixelRows, unseen: PixelRows, folder: Path
) -> tuple[nn.Module, TrainedClassifier, NoiseRecord | None]:
    """In eval mode, by the seed of `plan`."""
    network, noise = warmed(start, plan.seed, unseen, folder)
    found = train_classifier(network, start.head, rows, unseen, plan, CPU, None, lambda *step: None)
    network.load_state_dict(found.state)
    return network, found, noise


def noise_figures(noise: NoiseRecord | None) -> dict[str, Any]:
    """Confidence before and after the noise phase, on fresh noise and on images never trained on."""
    if noise is None:
        return {}
    first, last = noise.checks[0], noise.checks[-1]
    return {
        "noise steps": last.step,
        "noise confidence before": first.confidence,
        "noise confidence after": last.confidence,
        "image confidence before": first.image_confidence,
        "image confidence after": last.image_confidence,
    }


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Until no other process holds `path`: two would do the same warm-up twice."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
