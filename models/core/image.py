"""Bytes of an image file to RGB pixels, the same way for training, calibration and serving; limits before decoding."""

import io
import warnings
from enum import StrEnum

import numpy as np
from PIL import Image, UnidentifiedImageError

from models.core.errors import ModelSideError
from models.core.input_spec import InputSpec

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
MAX_PIXELS = 50_000_000

# EXIF orientation → what undoes it; the last four also swap width and height.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
TURNED = (5, 6, 7, 8)

# Pillow warns above its own limit and raises at twice that; both have to end in the same refusal.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


class Refusal(StrEnum):
    """Why an image was refused."""

    FORMAT = "image_format_unsupported"  # not one of FORMATS, or no image at all
    PIXELS = "image_too_large"  # more pixels than allowed
    ANIMATED = "image_animated"  # more than one frame or page
    MODE = "image_mode_unsupported"  # pixel type without an agreed range, such as float TIFF
    DAMAGED = "image_damaged"  # recognised, but cannot be decoded to its end


class ImageError(ModelSideError):
    """The bytes are not an image that can be scored; `refusal` is stable, the message is for people."""

    def __init__(self, refusal: Refusal, message: str) -> None:
        super().__init__(message)
        self.refusal = refusal


def read_image(content: bytes, spec: InputSpec, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode an image file to RGB: EXIF rotation applied, alpha laid over white, 16 bits cut to 8. Raises ImageError.

    A JPEG is decoded at reduced size where `spec` allows it.
    """
    image = _open(content)
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(Refusal.PIXELS, f"image has {width} x {height} pixels, at most {max_pixels} are allowed")
    try:
        # A phone's JPEG may carry more pictures behind the first (MPO); the first is the photograph.
        if getattr(image, "is_animated", False) and image.format != "MPO":
            raise ImageError(Refusal.ANIMATED, "image has several frames or pages; send each as an image of its own")
        return _decode(image, spec)
    except ImageError:
        raise
    except Exception as error:
        # Pillow's decoders raise nearly any type on damaged bytes (OSError, SyntaxError, struct.error, IndexError …).
        raise ImageError(Refusal.DAMAGED, f"{image.format} image is damaged or incomplete: {error}") from error


def _open(content: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(Refusal.PIXELS, f"image has too many pixels: {error}") from error
    except UnidentifiedImageError as error:
        raise ImageError(Refusal.FORMAT, f"not an image in one of the formats {', '.join(FORMATS)}") from error
    except Exception as error:
        raise ImageError(Refusal.DAMAGED, f"image header is damaged: {error}") from error


def _decode(image: Image.Image, spec: InputSpec) -> Image.Image:
    if spec.draft:
        turned = _orientation(image) in TURNED
        width, height = spec.draft_size(*(image.size[::-1] if turned else image.size))
        image.draft("RGB", (height, width) if turned else (width, height))
    image.load()
    # Asked for again: Pillow has already turned a TIFF while loading it, and then says 1.
    turn = TURNS.get(_orientation(image))
    rgb = _to_rgb(image)
    return rgb if turn is None else rgb.transpose(turn)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # damaged EXIF is no reason to refuse a good picture
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("F", "I", "LAB"):
        raise ImageError(Refusal.MODE, f"pixels of type {image.mode} have no agreed range; convert to 8 or 16 bits RGB")
    if image.mode.startswith("I;16"):
        return _from_16_bits(image)
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        paper = Image.new("RGB", image.size, "white")
        paper.paste(colours, mask=colours)
        return paper
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if "transparency" in image.info:
        values = np.where(values == image.info["transparency"], 65535, values)
    return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
