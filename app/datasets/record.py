"""What the catalog keeps about a dataset, as `dataset.json`."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Self

from models.data.dataset import Dataset, OutputDataset
from models.data.inspection import Inspection
from models.data.questions import AskedDataset

MAX_CLASSES_COUNTED = 1000
ID_DIGITS = 20


@dataclass(frozen=True, slots=True)
class DatasetRecord:
    """`columns` and `features` are the widths of outputs; `path` is set for data registered below the data root.

    Of questions `labels` are the places of the right choices, and `tasks` has the good rows of each task.
    """

    id: str
    name: str
    kind: str
    format: str
    rows: int
    good: int
    bad_count: int
    bad: tuple[tuple[str, str], ...]  # (row, reason), the first ones
    classes: int
    labels: dict[str, int] | None  # good rows a class; None where there are too many classes to list
    columns: int | None
    features: int | None
    bytes: int
    sha256: str
    created_at: str  # ISO 8601, UTC, to the microsecond: the order of lists
    path: str | None = None
    tasks: dict[str, int] | None = None  # None where there are too many to list, and of other data

    @classmethod
    def describe(cls, dataset: Dataset, found: Inspection, size: int, path: str | None = None) -> Self:
        """`size` is in bytes."""
        tasks = dataset.tasks() if isinstance(dataset, AskedDataset) else None
        outputs = dataset if isinstance(dataset, OutputDataset) else None
        return cls(
            id=dataset_id(dataset.sha256),
            name=dataset.name,
            kind=dataset.kind,
            format=dataset.source.format,
            rows=found.rows,
            good=found.good,
            bad_count=found.bad_count,
            bad=found.bad,
            classes=len(found.labels),
            labels=dict(found.labels) if len(found.labels) <= MAX_CLASSES_COUNTED else None,
            columns=None if outputs is None else outputs.logits.shape[1],
            features=None if outputs is None or outputs.features is None else outputs.features.shape[1],
            bytes=size,
            sha256=dataset.sha256,
            created_at=datetime.now(UTC).isoformat(timespec="microseconds"),
            path=path,
            tasks=tasks if tasks is not None and len(tasks) <= MAX_CLASSES_COUNTED else None,
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Raises KeyError or TypeError for fields that are not a record's."""
        return cls(**{**fields, "bad": tuple((row, reason) for row, reason in fields["bad"])})


def dataset_id(sha256: str) -> str:
    return f"ds_{sha256[:ID_DIGITS]}"
