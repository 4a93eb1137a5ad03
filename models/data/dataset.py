"""Data for jobs: labelled images, questions, reference answers, or outputs of a network.

Opening checks its form, `inspect` every row.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from models.core.errors import DataError
from models.core.image import ImageError, read_image
from models.core.input_spec import InputSpec
from models.data.inspection import Findings, Inspection
from models.data.labelled_image import LabelledImage
from models.data.labels import Label
from models.data.limits import DataLimits

Kind = Literal["images", "outputs", "questions", "completions"]

# Every byte of the file is read and checked, but a JPEG's pixels are computed at an eighth of its size.
CHEAP = InputSpec(height=1, width=1, resize=1, interpolation="nearest", mean=(0, 0, 0), std=(1, 1, 1))


@dataclass(frozen=True, slots=True)
class Source:
    """Where a dataset comes from: its name for people, its format, the sha256 of its bytes."""

    name: str
    format: str
    sha256: str


class Dataset(ABC):
    """`labels` are the rows on offer, by row name, in the order of the source; `findings` the rows that are none."""

    kind: Kind

    def __init__(self, source: Source, labels: Mapping[str, Label], findings: Findings) -> None:
        if not labels:
            raise DataError(f"{source.name} has no usable row{_examples(findings)}", tuple(findings))
        self.source = source
        self.labels = labels
        self.findings = findings

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def sha256(self) -> str:
        return self.source.sha256

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.labels)

    @property
    def rows(self) -> int:
        """All rows of the source, bad ones included."""
        return len(self.labels) + self.findings.count

    def without(self, names: Collection[str]) -> Self:
        """The same data, with these rows no longer on offer."""
        rest = copy.copy(self)
        rest.labels = {name: label for name, label in self.labels.items() if name not in names}
        return rest

    @abstractmethod
    def inspect(self) -> Inspection:
        """Look at every row. Takes the time that reading everything takes."""


class ImageDataset(Dataset):
    """Rows are image files."""

    kind = "images"

    def __init__(self, source: Source, labels: Mapping[str, Label], findings: Findings, limits: DataLimits) -> None:
        super().__init__(source, labels, findings)
        self.limits = limits

    @abstractmethod
    def contents(self, names: Sequence[str]) -> Iterator[bytes | None]:
        """Image files of these rows, in that order; None for one that the archive holds damaged."""

    def read(self, names: Sequence[str]) -> Iterator[LabelledImage[Label]]:
        """The rows of these names, in that order. Raises DataError for a damaged one."""
        for name, content in zip(names, self.contents(names), strict=True):
            if content is None:
                raise DataError(f"{self.name}: {name} is damaged in the archive", [(name, "damaged in the archive")])
            yield LabelledImage(name, content, self.labels[name])

    def inspect(self) -> Inspection:
        """Every file is decoded to its end."""
        unreadable: dict[str, str] = {}
        for name, content in zip(self.names, self.contents(self.names), strict=True):
            self.limits.between_rows()
            if reason := _why_unreadable(content):
                unreadable[name] = reason
        return self.findings.inspection(self.labels, unreadable)


class OutputDataset(Dataset):
    """Rows are the logits, and perhaps features, of a network; (N, C) and (N, D) float32, finite, in memory."""

    kind = "outputs"

    def __init__(
        self,
        source: Source,
        labels: Mapping[str, Label],
        findings: Findings,
        logits: NDArray[np.float32],
        features: NDArray[np.float32] | None,
    ) -> None:
        super().__init__(source, labels, findings)
        self.logits = logits
        self.features = features
        self._positions = {name: position for position, name in enumerate(labels)}

    def outputs(self, names: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Logits (len(names), C) and features (len(names), D) of these rows, in that order."""
        rows = [self._positions[name] for name in names]
        return self.logits[rows], None if self.features is None else self.features[rows]

    def inspect(self) -> Inspection:
        """Every value was checked when the table was read."""
        return self.findings.inspection(self.labels)


def _why_unreadable(content: bytes | None) -> str | None:
    if content is None:
        return "damaged in the archive: its checksum does not fit"
    if not content:
        return "the image is empty: zero bytes"
    try:
        read_image(content, CHEAP)
    except ImageError as error:
        return str(error)
    return None


def _examples(findings: Findings) -> str:
    return f": {'; '.join(f'{row}: {reason}' for row, reason in findings.first[:3])}" if findings.count else ""
