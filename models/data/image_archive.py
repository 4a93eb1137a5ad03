"""Labelled images in a zip: `index.csv` with the columns `file` and `label`, and `images/<file>`."""

import csv
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models.core.checkpoint import file_sha256


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One row; `name` is unique in its archive."""

    name: str
    content: bytes
    label: int


class ImageArchive:
    """Reads rows in the order of the index, which is often sorted by label: split with a seed before use."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.stem
        self.sha256 = file_sha256(path)
        with zipfile.ZipFile(path) as archive, archive.open("index.csv") as index:
            rows = list(csv.DictReader(io.TextIOWrapper(index, encoding="utf-8")))
        self.names = tuple(row["file"] for row in rows)
        self.labels = {row["file"]: int(row["label"]) for row in rows}
        if len(self.labels) != len(rows):
            raise ValueError(f"{path}: index.csv names a file twice")

    def read(self, names: tuple[str, ...]) -> Iterator[LabelledImage]:
        """The rows of these names, in that order."""
        with zipfile.ZipFile(self.path) as archive:
            for name in names:
                yield LabelledImage(name, archive.read(f"images/{name}"), self.labels[name])
