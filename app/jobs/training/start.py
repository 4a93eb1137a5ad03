"""The network that a job `train` begins with: untrained, or that of a version, with its head or a new one."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from models.backbones import backbone_kind, check_cut
from models.backbones.prepared import build_network, example_images
from models.core.errors import UnsupportedError
from models.core.input_spec import InputSpec
from models.core.manifest import Manifest
from models.core.store import CheckpointStore
from models.registration import UNUSABLE
from models.training.classifier.initial import initial_network
from models.training.classifier.networks import arguments_for, with_new_head


@dataclass(frozen=True, slots=True)
class Origin:
    """The version whose weights the network begins with; `keeps_head` where it has the same classes."""

    model: str
    version: int
    keeps_head: bool


@dataclass(frozen=True, slots=True)
class Start:
    """Everything that decides the first weights. `initial` is a scheme; it counts only without an origin."""

    kind: str
    name: str
    arguments: dict[str, Any]
    initial: str
    seed: int
    origin: Origin | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> "Start":
        origin = found["origin"]
        return cls(**{**found, "origin": None if origin is None else Origin(**origin)})


def untrained(params: Mapping[str, Any], classes: int, side: int) -> Start:
    """`params` are those of the job, with a `network`."""
    wanted = params["network"]
    arguments = arguments_for(wanted["kind"], wanted["name"], wanted["arguments"], classes, side)
    return Start(wanted["kind"], wanted["name"], arguments, wanted["initial"], params["seed"], None)


def from_version(manifest: Manifest, origin: Origin, classes: int, side: int, seed: int) -> Start:
    """`manifest` is that of the origin."""
    backbone = manifest.backbone
    arguments = backbone.arguments
    if not origin.keeps_head:
        arguments = arguments_for(backbone.kind, backbone.name, arguments, classes, side)
    return Start(backbone.kind, backbone.name, arguments, "", seed, origin)


def begin(start: Start, store: CheckpointStore) -> nn.Module:
    """The network in eval mode, in float32 on the CPU. Raises what its library raises for what it cannot build."""
    if start.origin is None:
        return initial_network(start.kind, start.name, start.arguments, start.initial, start.seed)
    backbone = store.read_manifest(start.origin.model, start.origin.version).backbone
    state = store.read_weights(backbone.sha256)
    if start.origin.keeps_head:
        return build_network(backbone, state)
    return with_new_head(start.kind, start.name, start.arguments, state, start.seed)


def check(start: Start, store: CheckpointStore, spec: InputSpec) -> None:
    """Raises UnsupportedError, with the reason, for a network that cannot be built, cut, or fed with such images."""
    try:
        check_cut(begin(start, store), backbone_kind(start.kind).cut, example_images(spec, 2))
    except UNUSABLE as error:
        size = f"{spec.height} x {spec.width}"
        raise UnsupportedError(
            f"{start.kind} {start.name} with {start.arguments} cannot be trained on {size} pixels: {error}"
        ) from error
