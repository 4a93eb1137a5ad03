"""What the first stage of a job `train` decides and decodes, kept in the job's folder for the others."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

import torch
from numpy.lib.format import open_memmap

from app.jobs.training.split import TrainSplit
from app.jobs.training.start import Start
from models.core.atomic import write_json
from models.core.errors import DataError
from models.core.input_spec import InputSpec
from models.data.labels import Label, label_indexes
from models.training.classifier.rows import PixelRows

FOLDER, FILE = "training", "preparation.json"
LARGEST_BAD_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Preparation:
    """See the fields. `trained` and `held_out` are names of decoded rows, in the order of their pixels."""

    start: Start
    classes: tuple[str, ...]
    spec: InputSpec
    precision: str  # of the training
    devices: int
    split: TrainSplit
    trained: tuple[str, ...]
    held_out: tuple[str, ...]
    report: tuple[str, ...]
    rival: int | None  # the version that served when the job began

    def write(self, folder: Path) -> None:
        found = {name: getattr(self, name) for name in self.__slots__}
        changed = {"start": self.start.to_dict(), "spec": self.spec.to_dict(), "split": asdict(self.split)}
        write_json(folder / FOLDER / FILE, found | changed)

    @classmethod
    def read(cls, folder: Path) -> Self:
        found = json.loads((folder / FOLDER / FILE).read_bytes())
        names = {name: tuple(found[name]) for name in ("classes", "trained", "held_out", "report")}
        return cls(
            **found
            | names
            | {
                "start": Start.from_dict(found["start"]),
                "spec": InputSpec.from_dict(found["spec"]),
                "split": TrainSplit(**found["split"]),
            }
        )

    def rows(self, folder: Path, part: str, labels: Mapping[str, Label]) -> PixelRows:
        """The pixels of `trained` or `held_out` rows, mapped from the job's folder."""
        names = getattr(self, part)
        indexes = label_indexes({name: labels[name] for name in names}, self.classes)
        pixels = open_memmap(pixels_path(folder, part), mode="r")[: len(names)]
        return PixelRows(pixels, torch.tensor(indexes), self.spec)

    def normalised(self, mean: tuple[float, ...], std: tuple[float, ...]) -> "Preparation":
        """The same, but that inputs are normalised by these."""
        return replace(self, spec=InputSpec.from_dict(self.spec.to_dict() | {"mean": mean, "std": std}))


def pixels_path(folder: Path, part: str) -> Path:
    return folder / FOLDER / f"{part}.npy"


def refuse_many_bad(bad: tuple[tuple[str, str], ...], rows: int) -> None:
    """Raises DataError where too many of the rows could not be read."""
    if len(bad) > LARGEST_BAD_SHARE * rows:
        raise DataError(f"{len(bad)} of {rows} images cannot be read, the first is {bad[0][0]}: {bad[0][1]}", bad)
