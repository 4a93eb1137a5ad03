"""What the ranks of a training are given, and what they give back, as files in its folder."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from numpy.lib.format import open_memmap
from torch import Tensor, nn

from models.backbones import backbone_kind
from models.core.errors import CheckpointError
from models.core.input_spec import InputSpec
from models.training.classifier.data_phase import EpochPoint
from models.training.classifier.noise_warmup import NoiseRecord
from models.training.classifier.plan import Augmentation, NoiseWarmUp, TrainPlan
from models.training.classifier.rows import PixelRows
from models.training.classifier.saved import Saved, State, part, under
from models.training.classifier.training import TrainedClassifier

RECIPE, RESULT = "recipe.safetensors", "result.safetensors"


@dataclass(frozen=True, slots=True)
class NetworkRecipe:
    """How each rank builds the network; `state` are its first weights."""

    kind: str
    name: str
    arguments: dict[str, Any]
    state: Mapping[str, Tensor]

    def build(self) -> nn.Module:
        """In eval mode. Raises CheckpointError where the weights are of another network."""
        network = backbone_kind(self.kind).build(self.name, self.arguments)
        try:
            network.load_state_dict(dict(self.state), strict=True)
        except RuntimeError as error:
            raise CheckpointError(f"the weights do not fit {self.kind} {self.name}: {error}") from error
        return network


@dataclass(frozen=True, slots=True)
class PixelFile:
    """The first N images of `path`, an .npy of (N or more, H, W, 3) uint8 as `decode` makes it; `labels` (N,) int64."""

    path: Path
    labels: Tensor

    def rows(self, spec: InputSpec) -> PixelRows:
        """Mapped into memory."""
        return PixelRows(open_memmap(self.path, mode="r")[: len(self.labels)], self.labels, spec)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that a rank needs to know, but for its number."""

    network: NetworkRecipe
    spec: InputSpec
    trained: PixelFile
    held_out: PixelFile
    plan: TrainPlan
    device_type: str  # cpu, or cuda: rank r is on the r-th one

    def write(self, folder: Path) -> None:
        # Cloned, since tied weights share memory, which the file's format refuses.
        tensors = under("state", {name: tensor.detach().clone() for name, tensor in self.network.state.items()})
        tensors |= {"trained": self.trained.labels, "held_out": self.held_out.labels}
        record = {
            "network": {name: getattr(self.network, name) for name in ("kind", "name", "arguments")},
            "spec": self.spec.to_dict(),
            "trained": str(self.trained.path),
            "held_out": str(self.held_out.path),
            "plan": asdict(self.plan),
            "device_type": self.device_type,
        }
        Saved(folder / RECIPE, {}).save(tensors, record)

    @classmethod
    def read(cls, folder: Path) -> Self:
        tensors, record = _read(folder / RECIPE)
        return cls(
            network=NetworkRecipe(**record["network"], state=part("state", tensors)),
            spec=InputSpec.from_dict(record["spec"]),
            trained=PixelFile(Path(record["trained"]), tensors["trained"]),
            held_out=PixelFile(Path(record["held_out"]), tensors["held_out"]),
            plan=_plan(record["plan"]),
            device_type=record["device_type"],
        )


def write_result(folder: Path, result: TrainedClassifier) -> None:
    record = {
        "curve": [asdict(point) for point in result.curve],
        "noise": None if result.noise is None else result.noise.to_dict(),
        "stopped": result.stopped,
    }
    Saved(folder / RESULT, {}).save(result.state, record)


def read_result(folder: Path) -> TrainedClassifier:
    state, record = _read(folder / RESULT)
    noise = record["noise"]
    return TrainedClassifier(
        state=state,
        curve=tuple(map(EpochPoint.from_dict, record["curve"])),
        noise=None if noise is None else NoiseRecord.from_dict(noise),
        stopped=record["stopped"],
    )


def _read(path: Path) -> tuple[State, dict[str, Any]]:
    found = Saved(path, {}).load()
    if found is None:
        raise FileNotFoundError(f"{path} is not there: the ranks of a training are started by train_on_several")
    return found


def _plan(found: Mapping[str, Any]) -> TrainPlan:
    noise = found["noise_warmup"]
    parts = {
        "augmentation": Augmentation(**found["augmentation"]),
        "noise_warmup": None if noise is None else NoiseWarmUp(**noise),
    }
    return TrainPlan(**{**found, **parts})
