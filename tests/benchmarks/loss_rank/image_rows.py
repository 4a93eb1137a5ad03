"""Rows of the 32-pixel sets as image files, which is what a feature cache reads."""

import io
from pathlib import Path

from PIL import Image
from torch import Tensor

from models.checkpoints.upstream import held_images
from models.core.checkpoint import file_sha256
from models.data.splits import split
from models.feature_cache.image_rows import ImageRows
from tests.benchmarks.epistemic.sets import SEED
from tests.benchmarks.epistemic.strips import read_strips


def strip_images(path: Path, count: int, seed: int = SEED) -> ImageRows:
    """Seeded rows of a 32-pixel set, the same as `sets.strip_rows` takes, each as a PNG file."""
    pixels, labels = read_strips(path)
    (chosen,) = split(map(str, range(len(labels))), seed, count)
    rows = [int(name) for name in chosen]
    files = {f"{path.stem}/{row}": png(pixels[row]) for row in rows}
    return held_images(files, labels[rows].tolist(), file_sha256(path))


def png(pixels: Tensor) -> bytes:
    """A file that decodes to exactly these pixels (3, H, W) uint8."""
    file = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, "PNG", compress_level=1)
    return file.getvalue()
