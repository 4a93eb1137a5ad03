"""One image of a request: bytes to the pixels a network takes, within limits. Runs in the decoding threads."""

import base64
import binascii
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.errors import HowsureError, ImageRefusedError, InvalidError, PayloadTooLargeError
from models.core.image import ImageError, read_image
from models.core.input_spec import InputSpec

DATA_URI = re.compile(r"data:(?:image/[\w.+-]+)?(?:;[\w=.+-]+)*;base64,", re.ASCII)


@dataclass(frozen=True, slots=True)
class ImageInput:
    """One input as it came: file bytes, or base64 text (bare or as a data URI)."""

    name: str | None
    content: bytes | str


@dataclass(frozen=True, slots=True)
class Limits:
    """What one image may be."""

    max_bytes: int
    max_pixels: int


def decode(image: ImageInput, spec: InputSpec, limits: Limits) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 as `spec` asks for. Raises a HowsureError that says what to send instead."""
    content = _bytes(image.content, limits)
    if not content:
        raise InvalidError("the image is empty: zero bytes")
    if len(content) > limits.max_bytes:
        raise _too_large(limits)
    try:
        return spec.pixels(read_image(content, spec, max_pixels=limits.max_pixels))
    except ImageError as error:
        raise ImageRefusedError(error) from error


def _bytes(content: bytes | str, limits: Limits) -> bytes:
    if isinstance(content, bytes):
        return content
    uri = DATA_URI.match(content)
    if content.startswith("data:") and uri is None:
        raise InvalidError("a data URI must look like data:image/jpeg;base64,…")
    encoded = content[uri.end() :] if uri else content
    if len(encoded) > limits.max_bytes * 4 / 3 + 4:
        raise _too_large(limits)
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidError(f"the image data is not base64: {error}") from error


def _too_large(limits: Limits) -> HowsureError:
    return PayloadTooLargeError(f"the image is larger than {limits.max_bytes} bytes")
