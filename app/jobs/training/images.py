"""How the images of a job `train` become inputs: their size, where none is asked for, and their normalisation."""

import io
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from models.core.errors import DataError
from models.core.input_spec import InputSpec
from models.data.dataset import ImageDataset

LOOKED_AT = 256  # images whose size decides
OWN_SIZE_BELOW = 48  # pixels of the shorter side: smaller images are taken as they are
SMALLEST_SIDE = 8
SIZES = {"howsure": 32}  # kind of network → side of larger images
OTHER_SIZE = 224
INTERPOLATION = "bilinear"
HALF = (0.5, 0.5, 0.5)
LEAST_DEVIATION = 0.01  # ours: of a channel that is the same everywhere
DIGITS = 4


def input_spec_of(
    params: Mapping[str, Any], base: InputSpec | None, kind: str, images: ImageDataset, names: Sequence[str]
) -> InputSpec:
    """As asked for, else that of the base version, else by the images of these names; see `TrainParams`.

    Without mean and deviation, asked for or of the base, both are .5 until they are measured.
    """
    if base is not None and params["image_size"] is None:
        side, height, width, resize = base.width, base.height, base.width, base.resize
    else:
        side = params["image_size"] or _usual_side(images, names, kind)
        height, width, resize = side, side, side
    resize = params["resize"] or resize
    if resize < side:
        raise DataError(f"resize is {resize}, but {side} x {side} pixels are to be cut out: leave it out, or raise it")
    return InputSpec(
        height=height,
        width=width,
        resize=resize,
        interpolation=params["interpolation"] or (base.interpolation if base else INTERPOLATION),
        mean=tuple(params["mean"] or (base.mean if base else HALF)),
        std=tuple(params["std"] or (base.std if base else HALF)),
        fit=base.fit if base else "crop",
    )


def normalisation(pixels: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of (N, H, W, 3) uint8, as shares of 255, rounded."""
    counts = np.stack([_counts(pixels, channel) for channel in range(3)])  # (3, 256)
    values = np.arange(256) / 255
    shares = counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ values
    deviation = np.sqrt(np.maximum(shares @ values**2 - mean**2, 0)).clip(LEAST_DEVIATION)
    return tuple(mean.round(DIGITS).tolist()), tuple(deviation.round(DIGITS).tolist())


def _counts(pixels: NDArray[np.uint8], channel: int) -> NDArray[np.int64]:
    """(256,): how often each value occurs; a part at a time, since the pixels may be a map of a large file."""
    counts = np.zeros(256, np.int64)
    for part in np.array_split(pixels, _parts(pixels)):
        counts += np.bincount(part[..., channel].ravel(), minlength=256)
    return counts


def _parts(pixels: NDArray[np.uint8]) -> int:
    return max(1, min(len(pixels), pixels.size // 2**24))


def _usual_side(images: ImageDataset, names: Sequence[str], kind: str) -> int:
    sides = list(_shorter_sides(images.contents(names[:LOOKED_AT])))
    if not sides:
        raise DataError("none of the first images can be read: mend the data, or say image_size")
    usual = round(median(sides))
    if usual < OWN_SIZE_BELOW:
        return max(SMALLEST_SIDE, usual)
    return SIZES.get(kind, OTHER_SIZE)


def _shorter_sides(contents: Iterable[bytes | None]) -> Iterable[int]:
    for content in contents:
        try:
            with Image.open(io.BytesIO(content or b"")) as image:
                yield min(image.size)
        except (UnidentifiedImageError, OSError):
            continue
