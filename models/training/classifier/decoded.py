"""Images decoded once to a network's input size, in a file that is mapped into memory while it is trained on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from models.core.atomic import sync_folder
from models.core.image import ImageError, Refusal, read_image
from models.core.input_spec import InputSpec
from models.feature_cache.image_rows import ImageRows
from models.training.classifier.rows import PixelRows

Told = Callable[[int], None]  # images done


@dataclass(frozen=True, slots=True)
class Decoded:
    """`rows` are those that could be read, `names` theirs; `bad` are (name, reason) of the others."""

    rows: PixelRows
    names: tuple[str, ...]
    bad: tuple[tuple[str, str], ...]


def decode(images: ImageRows, spec: InputSpec, path: Path, told: Told) -> Decoded:
    """Into `path`, an .npy of (N, H, W, 3) uint8, as the server would decode them; what is there already is replaced.

    Raises DataError where none can be read.
    """
    beside = path.with_name(f".{path.name}.tmp")
    pixels = open_memmap(beside, mode="w+", dtype=np.uint8, shape=(len(images.names), spec.height, spec.width, 3))
    kept: list[int] = []
    bad: list[tuple[str, str]] = []
    for place, content in enumerate(images.contents(images.names)):
        try:
            pixels[len(kept)] = _pixels(content, spec)
            kept.append(place)
        except ImageError as error:
            bad.append((images.names[place], str(error)))
        told(place + 1)
    pixels.flush()
    beside.replace(path)
    sync_folder(path.parent)
    labels = torch.from_numpy(images.labels[kept])
    return Decoded(
        PixelRows(pixels[: len(kept)], labels, spec), tuple(images.names[place] for place in kept), tuple(bad)
    )


def _pixels(content: bytes | None, spec: InputSpec) -> NDArray[np.uint8]:
    if content is None:
        raise ImageError(Refusal.DAMAGED, "damaged in the archive: its checksum does not fit")
    return spec.pixels(read_image(content, spec))
