"""Forward passes over labelled images: what calibrators are fitted on and judged by."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.backbones.prepared import PreparedNetwork
from models.core.atomic import json_bytes, write_bytes
from models.core.errors import DataError
from models.core.image import ImageError, Refusal, read_image
from models.core.outputs import LayerGradients, ModelOutputs
from models.data.image_archive import LabelledImage

PART_ROWS = 64

Pixels = NDArray[np.uint8]
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class LabelledOutputs:
    """Outputs of N rows on the CPU and their labels (N,) int64."""

    outputs: ModelOutputs
    labels: Tensor


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that could not be decoded, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Collected:
    """Logits (N, C), features (N, D), and gradients if the network gives them, of the readable rows by their names."""

    outputs: ModelOutputs
    names: tuple[str, ...]
    unreadable: tuple[Unreadable, ...]


def collect(network: PreparedNetwork, rows: Iterable[LabelledImage], *, batch: int = 16) -> LabelledOutputs:
    """Decode exactly as the server does, then logits and features batch by batch. Raises ImageError."""
    found: list[ModelOutputs] = []
    labels: list[int] = []
    for part in _batches(rows, batch):
        found.append(_outputs(network, [_pixels(network, row.content) for row in part]))
        labels.extend(row.label for row in part)
    return LabelledOutputs(_joined(found), torch.tensor(labels))


def collect_in_parts(
    network: PreparedNetwork,
    names: Sequence[str],
    contents: Callable[[Sequence[str]], Iterable[bytes | None]],
    folder: Path,
    told: Callable[[int], None],
    *,
    batch: int = 16,
) -> tuple[Unreadable, ...]:
    """As `collect`, but each 64 rows become a file in `folder`, and a part that is there is not computed again.

    `contents` gives the image files of some rows, None for a damaged one. `told` hears how many rows are done. Returns
    the rows that were left out, since they cannot be decoded; `gather` gives the others.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(names), PART_ROWS):
        path = folder / f"{start:09}.safetensors"
        if not path.exists():
            some = names[start : start + PART_ROWS]
            write_bytes(path, _part(network, zip(some, contents(some), strict=True), batch))
        told(min(start + PART_ROWS, len(names)))
    return gather(folder).unreadable


def _part(network: PreparedNetwork, rows: Iterable[tuple[str, bytes | None]], batch: int) -> bytes:
    kept: list[str] = []
    bad: list[tuple[str, str]] = []
    found = [_outputs(network, [])]
    for several in _batches(rows, batch):
        pixels = []
        for name, content in several:
            try:
                pixels.append(_pixels(network, content))
                kept.append(name)
            except ImageError as error:
                bad.append((name, str(error)))
        found.append(_outputs(network, pixels))
    outputs = _joined(found)
    tensors = {
        "logits": outputs.logits,
        "features": outputs.require_features(),
        "names": _as_tensor(kept),
        "bad": _as_tensor(bad),
    }
    if outputs.gradients is not None:
        tensors |= {"energies": outputs.gradients.energies, "layers": torch.tensor(outputs.gradients.layers)}
    stored: bytes = safetensors.torch.save(tensors)
    return stored


def gather(folder: Path) -> Collected:
    """What `collect_in_parts` has left in a folder."""
    parts = [safetensors.torch.load(path.read_bytes()) for path in sorted(folder.glob("*.safetensors"))]
    outputs = [ModelOutputs(part["logits"], features=part["features"], gradients=_gradients(part)) for part in parts]
    names = [name for part in parts for name in _from_tensor(part["names"])]
    bad = [Unreadable(*pair) for part in parts for pair in _from_tensor(part["bad"])]
    return Collected(_joined(outputs), tuple(names), tuple(bad))


def _gradients(part: Mapping[str, Tensor]) -> LayerGradients | None:
    return LayerGradients(part["energies"], int(part["layers"])) if "energies" in part else None


def _pixels(network: PreparedNetwork, content: bytes | None) -> Pixels:
    if content is None:
        raise ImageError(Refusal.DAMAGED, "damaged in the archive: its checksum does not fit")
    return network.input_spec.pixels(read_image(content, network.input_spec))


def _outputs(network: PreparedNetwork, pixels: Sequence[Pixels]) -> ModelOutputs:
    if not pixels:
        sizes = network.dimensions
        return ModelOutputs(torch.empty(0, sizes.classes), features=torch.empty(0, sizes.features))
    outputs = network.outputs(np.stack(pixels), gradients=True)
    gradients = outputs.gradients and LayerGradients(outputs.gradients.energies.cpu(), outputs.gradients.layers)
    return ModelOutputs(outputs.logits.cpu(), features=outputs.require_features().cpu(), gradients=gradients)


def _joined(parts: Sequence[ModelOutputs]) -> ModelOutputs:
    logits = torch.cat([part.logits for part in parts])
    features = torch.cat([part.require_features() for part in parts])
    found = [part.gradients for part in parts if part.gradients is not None]
    if not found:
        return ModelOutputs(logits, features=features)
    if any(len(part) and part.gradients is None for part in parts):
        raise DataError("some parts of the collected outputs have gradients and others none: collect them anew")
    energies = torch.cat([gradients.energies for gradients in found])
    return ModelOutputs(logits, features=features, gradients=LayerGradients(energies, found[0].layers))


def _as_tensor(texts: Sequence[object]) -> Tensor:
    return torch.frombuffer(bytearray(json_bytes(list(texts))), dtype=torch.uint8)


def _from_tensor(stored: Tensor) -> list[Any]:
    return list(json.loads(bytes(stored.tolist())))


def _batches(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    rest = iter(rows)
    while part := list(islice(rest, size)):
        yield part
