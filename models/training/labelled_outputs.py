"""Forward passes over labelled images: what calibrators are fitted on and judged by."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from models.core.image import ImageError, Refusal, read_image
from models.core.outputs import ModelOutputs
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
    """Logits (N, C) and features (N, D) of the readable rows, whose names are `names`."""

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
    tensors = {
        "logits": torch.cat([each.logits for each in found]),
        "features": torch.cat([each.require_features() for each in found]),
        "names": _as_tensor(kept),
        "bad": _as_tensor(bad),
    }
    stored: bytes = safetensors.torch.save(tensors)
    return stored


def gather(folder: Path) -> Collected:
    """What `collect_in_parts` has left in a folder."""
    parts = [safetensors.torch.load(path.read_bytes()) for path in sorted(folder.glob("*.safetensors"))]
    outputs = [ModelOutputs(part["logits"], features=part["features"]) for part in parts]
    names = [name for part in parts for name in _from_tensor(part["names"])]
    bad = [Unreadable(*pair) for part in parts for pair in _from_tensor(part["bad"])]
    return Collected(_joined(outputs), tuple(names), tuple(bad))


def _pixels(network: PreparedNetwork, content: bytes | None) -> Pixels:
    if content is None:
        raise ImageError(Refusal.DAMAGED, "damaged in the archive: its checksum does not fit")
    return network.input_spec.pixels(read_image(content, network.input_spec))


def _outputs(network: PreparedNetwork, pixels: Sequence[Pixels]) -> ModelOutputs:
    if not pixels:
        sizes = network.dimensions
        return ModelOutputs(torch.empty(0, sizes.classes), features=torch.empty(0, sizes.features))
    outputs = network.outputs(np.stack(pixels))
    return ModelOutputs(outputs.logits.cpu(), features=outputs.require_features().cpu())


def _joined(parts: Sequence[ModelOutputs]) -> ModelOutputs:
    logits = torch.cat([part.logits for part in parts])
    return ModelOutputs(logits, features=torch.cat([part.require_features() for part in parts]))


def _as_tensor(texts: Sequence[object]) -> Tensor:
    return torch.frombuffer(bytearray(json_bytes(list(texts))), dtype=torch.uint8)


def _from_tensor(stored: Tensor) -> list[Any]:
    return list(json.loads(bytes(stored.tolist())))


def _batches(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    rest = iter(rows)
    while part := list(islice(rest, size)):
        yield part
