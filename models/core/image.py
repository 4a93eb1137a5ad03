"""Bytes of an image file to RGB pixels, the same way for training, calibration and serving; limits before decoding."""

import io
import warnings
from enum import StrEnum

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from models.core.errors import ModelSideError
from models.core.input_spec import InputSpec

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
MAX_PIXELS = 50_000_000

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
    # A phone's JPEG may carry more pictures behind the first (MPO); the first is the photograph.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise ImageError(Refusal.ANIMATED, "image has several frames or pages; send each as an image of its own")
    try:
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
    orientation = _orientation(image)
    if spec.draft:
        image.draft("RGB", spec.draft_size(*image.size))
    image.load()
    rgb = _to_rgb(image)
    return ImageOps.exif_transpose(rgb) if orientation != 1 else rgb


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # damaged EXIF is no reason to refuse a good picture
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode == "F":
        raise ImageError(Refusal.MODE, "float images have no agreed range; convert to 8 or 16 bits first")
    if image.mode.startswith("I"):
        return _from_16_bits(image)
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), colours).convert("RGB")
    return image.convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ImageError(Refusal.MODE, "32-bit images have no agreed range; convert to 8 or 16 bits first")
    return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
