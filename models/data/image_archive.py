"""Labelled images in a zip whose labels are class indexes and whose rows are all sound: what recipes are built from."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from models.core.errors import DataError
from models.data.dataset import ImageDataset
from models.data.labelled_image import LabelledImage
from models.data.open_dataset import open_dataset

__all__ = ["ImageArchive", "LabelledImage"]


class ImageArchive:
    """Raises DataError when a row of the index is wrong in any way, or a label is no class index."""

    def __init__(self, path: Path) -> None:
        dataset = open_dataset(path)
        if not isinstance(dataset, ImageDataset):
            raise DataError(f"{path} holds outputs, not images")
        if dataset.findings.count:
            raise DataError(f"{path}: {'; '.join(f'{row}: {reason}' for row, reason in dataset.findings)}")
        self.path = path
        self.name = dataset.name
        self.sha256 = dataset.sha256
        self.names = dataset.names
        self.labels = {name: label for name, label in dataset.labels.items() if isinstance(label, int)}
        self._images = dataset
        if len(self.labels) != len(self.names):
            raise DataError(f"{path}: labels must be class indexes")

    def contents(self, names: Sequence[str]) -> Iterator[bytes | None]:
        """Image files of these rows, in that order; None for one that the archive holds damaged."""
        return self._images.contents(names)

    def read(self, names: tuple[str, ...]) -> Iterator[LabelledImage]:
        """The rows of these names, in that order."""
        for row in self._images.read(names):
            yield LabelledImage(row.name, row.content, self.labels[row.name])
