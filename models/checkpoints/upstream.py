"""The images that the loss-rank head of `efficientnet-lite0` is trained on: all there are with ImageNet's classes.

The photographs that the checkpoint was calibrated on, an image a class, which the network may have been trained on, and
Tiny-ImageNet's, of 64 pixels. They are few: the method's authors had 92 million views of ImageNet-21k.
"""

import csv
import hashlib
import io
import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from models.core.checkpoint import file_sha256
from models.data.image_archive import ImageArchive
from models.feature_cache.image_rows import ImageRows


def upstream_rows(data: Path, photographs: Collection[str]) -> ImageRows:
    """`photographs` are names in `imagenet_nips17dev_shared.zip`: those that nothing is reported on."""
    return joined(
        [
            archive_images(data / "imagenet_nips17dev_shared.zip", only=photographs),
            archive_images(data / "imagenet_sample1000_shared.zip"),
            archive_images(data / "tinyimagenet_val_shared.zip", label="imagenet_label"),
        ]
    )


def archive_images(path: Path, label: str = "label", only: Collection[str] | None = None) -> ImageRows:
    """The images of a zip file with `index.csv`, in its order; names are below the file's own. `label` is a column."""
    with zipfile.ZipFile(path) as archive:
        listed = list(csv.DictReader(io.TextIOWrapper(archive.open("index.csv"), encoding="utf-8")))
        kept = [row for row in listed if only is None or row["file"] in only]
        files = {f"{path.stem}/{row['file']}": archive.read(f"images/{row['file']}") for row in kept}
    return held_images(files, [int(row[label]) for row in kept], file_sha256(path))


def rows_of(images: ImageArchive, names: Sequence[str]) -> ImageRows:
    """Some rows of an archive, read when they are needed."""
    labels = np.array([images.labels[name] for name in names], np.int64)
    return ImageRows(tuple(names), labels, images.contents, images.sha256)


def joined(parts: Sequence[ImageRows]) -> ImageRows:
    """All rows of all parts, one part after the other."""
    files = {
        name: content
        for part in parts
        for name, content in zip(part.names, part.contents(part.names), strict=True)
        if content is not None
    }
    labels = np.concatenate([part.labels for part in parts]).tolist()
    return held_images(files, labels, hashlib.sha256("".join(part.sha256 for part in parts).encode()).hexdigest())


def held_images(files: Mapping[str, bytes], labels: Sequence[int], sha256: str) -> ImageRows:
    """Image files in memory, by their names."""
    return ImageRows(tuple(files), np.array(labels, np.int64), lambda names: [files[name] for name in names], sha256)
