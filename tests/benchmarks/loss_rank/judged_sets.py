"""The data sets that heads are judged on, as images of the feature cache, and centre crops of them."""

import io
from collections.abc import Mapping

import numpy as np
from PIL import Image

from models.checkpoints.efficientnet_lite0 import plan
from models.checkpoints.upstream import archive_images, held_images
from models.feature_cache.image_rows import ImageRows
from tests.benchmarks.epistemic.cifar10_network import DATA
from tests.benchmarks.epistemic.sets import SEED
from tests.benchmarks.loss_rank.image_rows import strip_images

SMALLEST, LARGEST = 0.1, 0.75  # side of a crop, share of the image's; arXiv 2402.16569's crop test


def judged_sets() -> Mapping[str, ImageRows]:
    return {
        "Cars, 49 classes": archive_images(DATA / "cars196_shared.zip"),
        "Flowers, 51 classes": archive_images(DATA / "flowers102_shared.zip"),
        "textures, 10 classes": archive_images(DATA / "dtd_textures10_shared.zip"),
        "CIFAR-100": strip_images(DATA / "cifar100_test_shared.npz", 5000),
        "CIFAR-10": strip_images(DATA / "cifar10_test_shared.npz", 5000),
    }


def reported_rows() -> ImageRows:
    """Photographs like those that the shipped checkpoint was calibrated on, which nothing was fitted on."""
    return archive_images(DATA / "imagenet_nips17dev_shared.zip", only=set(plan(DATA).judge[0].names))


def cropped(rows: ImageRows) -> ImageRows:
    """The middle of each image; sides are seeded."""
    sides = np.random.default_rng(SEED).uniform(SMALLEST, LARGEST, len(rows.names))
    contents = zip(rows.names, rows.contents(rows.names), sides, strict=True)
    files = {f"{name} cropped": _middle(content, side) for name, content, side in contents if content is not None}
    return held_images(files, rows.labels.tolist(), f"{rows.sha256}-cropped-{SEED}")


def _middle(content: bytes, side: float) -> bytes:
    image = Image.open(io.BytesIO(content)).convert("RGB")
    length = max(2, round(side * min(image.size)))
    left, top = (image.width - length) // 2, (image.height - length) // 2
    file = io.BytesIO()
    image.crop((left, top, left + length, top + length)).save(file, "PNG", compress_level=1)
    return file.getvalue()
