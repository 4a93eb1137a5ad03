"""The first version of a network that comes from outside: as it is, neither calibrated nor with a reference set."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from models.backbones import backbone_kind
from models.backbones.backbone import ImportedNetwork, check_cut
from models.backbones.prepared import build_network, prepare
from models.core.checkpoint import Version
from models.core.errors import ModelSideError, UnsupportedError
from models.core.golden import GOLDEN_SEEDS, golden_pixels
from models.core.input_spec import InputSpec
from models.core.manifest import BackboneRecord
from models.core.store import CheckpointStore
from models.core.unfitted import unfitted
from models.pipeline import Pipeline

PRECISIONS = ("bfloat16", "float32")
# What files of someone else's making can go wrong with, in three libraries.
UNUSABLE = (ModelSideError, SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError)


def from_folder(kind: str, folder: Path) -> ImportedNetwork:
    """A folder as timm or transformers save it. Raises one of UNUSABLE."""
    if kind == "torchvision":
        raise UnsupportedError("torchvision saves no folders: give a .safetensors file and say what it is of")
    if not folder.is_dir():
        raise UnsupportedError("this is not a folder; of a .safetensors file say what it is of")
    try:
        return backbone_kind(kind).load(str(folder))
    except KeyError as error:
        raise UnsupportedError(f"its config.json has no {error}: is it of another kind than {kind}?") from error


def from_file(kind: str, file: Path, name: str, arguments: dict[str, Any], input_spec: InputSpec) -> ImportedNetwork:
    """A state dict as safetensors, of the network that the library builds by this name. Raises one of UNUSABLE."""
    network = backbone_kind(kind).build(name, arguments)
    network.load_state_dict(safetensors.torch.load_file(file), strict=True)
    return ImportedNetwork(network, name, arguments, input_spec, None)


def register(
    store: CheckpointStore, model: str, kind: str, imported: ImportedNetwork, classes: Sequence[str] | None = None
) -> int:
    """Publish a network under a name and return the version's number; it does not become active.

    `classes` are needed where the source does not name them, one a logit. It is served without scores until a job
    calibrates it. Raises UnsupportedError for a network that howsure cannot cut, or whose classes are not known.
    """
    state = imported.network.state_dict()
    names = tuple(classes or imported.classes or ())
    record = BackboneRecord(kind, imported.name, imported.arguments, store.add_weights(state))
    return store.publish(model, unfitted_version(record, state, imported.input_spec, names))


def unfitted_version(
    record: BackboneRecord, state: Mapping[str, Tensor], input_spec: InputSpec, classes: tuple[str, ...]
) -> Version:
    """A version, in no store yet, that has neither calibrator nor scores. Raises UnsupportedError as `register`."""
    # Not the network at hand, but the one that the record builds: what cannot be built again must not be published.
    network = build_network(record, state)
    images = input_spec.tensor(golden_pixels(input_spec, GOLDEN_SEEDS), torch.device("cpu"), torch.float32)
    cut = check_cut(build_network(record, state), backbone_kind(record.kind).cut, images)
    if len(classes) != cut.dimensions.classes or len(set(classes)) != len(classes):
        raise UnsupportedError(
            f"{record.name} has {cut.dimensions.classes} outputs, and {len(set(classes))} different class names are"
            " known: name every class once"
        )
    golden = {}
    for precision in PRECISIONS:
        prepared = prepare(network, record.kind, input_spec, torch.device("cpu"), precision)
        golden[precision] = tuple(Pipeline(prepared, None, {}).golden_rows(GOLDEN_SEEDS))
    return unfitted(record, golden, task="image-classification", classes=classes, input_spec=input_spec)
