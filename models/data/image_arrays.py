"""Images as one array in an .npz: pixels, or lossless WebP strips. Rows are handed out as PNG files."""

import io
import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.core.errors import DataError
from models.core.image import MAX_PIXELS
from models.data.dataset import ImageDataset, Source
from models.data.inspection import Findings, Inspection
from models.data.labels import Label
from models.data.limits import DataLimits
from models.data.npz import Npz


class ImageArrays(ImageDataset):
    """Rows are called `row 1`, `row 2`, …; `images` (or `x`) is uint8 (N, H, W, 3) or (N, H, W), or `webp` strips."""

    def __init__(self, source: Source, npz: Npz, limits: DataLimits) -> None:
        self._pixels = _strips(npz, limits) if "webp" in npz.names else _pixels(npz)
        if len(self._pixels) > limits.rows:
            raise DataError(f"{len(self._pixels)} rows, at most {limits.rows} are allowed; upload them in parts")
        labels, findings = row_labels(npz.labels(len(self._pixels)))
        super().__init__(source, labels, findings, limits)

    def contents(self, names: Sequence[str]) -> Iterator[bytes]:
        for name in names:
            file = io.BytesIO()
            image = Image.fromarray(np.asarray(self._pixels[int(name.removeprefix("row ")) - 1]))
            image.save(file, "PNG", compress_level=1)
            yield file.getvalue()

    def inspect(self) -> Inspection:
        """Pixels in an array are readable as they are."""
        return self.findings.inspection(self.labels)


def row_labels(given: Sequence[Label]) -> tuple[dict[str, Label], Findings]:
    """Labels by row name, counted from 1; empty ones become findings."""
    findings = Findings()
    for number, label in enumerate(given, start=1):
        if label == "":
            findings.add(f"row {number}", "its label is empty")
    return {f"row {number}": label for number, label in enumerate(given, start=1) if label != ""}, findings


def _pixels(npz: Npz) -> NDArray[Any]:
    pixels = npz.array("images", "x")
    shape = pixels.shape
    if pixels.dtype != np.uint8 or not (len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)):
        raise DataError(f"images are {pixels.dtype} {shape}: give uint8 of shape (N, H, W, 3) or (N, H, W)")
    if not shape[1] * shape[2] or shape[1] * shape[2] > MAX_PIXELS:
        raise DataError(f"images of {shape[1]} x {shape[2]} pixels; give 1 to {MAX_PIXELS} pixels")
    return pixels


def _strips(npz: Npz, limits: DataLimits) -> NDArray[np.uint8]:
    """(N, S, S, 3) from strips of images one below the other, each S wide; `offsets` are where each strip starts."""
    content, offsets = npz.array("webp"), npz.array("offsets")
    _check_offsets(content, offsets)
    with tempfile.TemporaryFile() as file:
        size = side = 0
        for number, (start, end) in enumerate(pairwise(offsets), start=1):
            limits.between_rows()
            strip = _strip(content[start:end].tobytes(), number, side)
            side = side or strip.shape[1]
            size += strip.nbytes
            if size > limits.unpacked_bytes:
                raise DataError(f"the strips unpack to more than the {limits.unpacked_bytes} bytes allowed")
            file.write(strip.tobytes())
        file.flush()
        return np.memmap(file, np.uint8, "r", shape=(size // (side * side * 3), side, side, 3))


def _check_offsets(content: NDArray[Any], offsets: NDArray[Any]) -> None:
    sound = content.dtype == np.uint8 and content.ndim == 1 and offsets.dtype.kind in "iu" and offsets.ndim == 1
    if (
        not sound
        or len(offsets) < 2
        or offsets[0] != 0
        or offsets[-1] != len(content)
        or (offsets[1:] <= offsets[:-1]).any()
    ):
        raise DataError("`webp` must be uint8 bytes, and `offsets` rise from 0 to their number, one for each strip")


def _strip(content: bytes, number: int, side: int) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(content), formats=["WEBP"]) as image:
            width, height = image.size
            if height % width or (side and width != side):
                raise DataError(f"strip {number} has {width} x {height} pixels: no column of squares of one size")
            return np.asarray(image.convert("RGB"))
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly any type on damaged bytes
        raise DataError(f"strip {number} is no readable WebP: {error}") from error
