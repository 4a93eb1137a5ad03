"""The one picture that every contender gets: scikit-image's photograph of a cat, enlarged to a camera's proportions."""

import io
from pathlib import Path

from PIL import Image
from skimage.data import chelsea

SIZE = (1024, 681)
QUALITY = 88


def photograph() -> bytes:
    """A baseline JPEG of 1024 x 681 pixels, about 100 kB."""
    picture = Image.fromarray(chelsea()).resize(SIZE, Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def write_photograph(folder: Path) -> Path:
    path = folder / "photograph.jpg"
    path.write_bytes(photograph())
    return path


def describe() -> str:
    return f"{SIZE[0]} x {SIZE[1]} JPEG, quality {QUALITY}, {len(photograph()) / 1000:.0f} kB"
