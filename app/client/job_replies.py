"""What the HTTP interface answers about datasets and jobs, as typed values. See `replies.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.client.replies import pick

OVER = frozenset({"cancelled", "succeeded", "failed"})


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was left out."""

    row: str
    reason: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """Labelled data on the server; `bad` are the first of its `bad_count` bad rows, which jobs leave out.

    `labels` has the good rows of each label, or is None where there are too many labels. `columns` and `features` are
    widths of a table of outputs. `path` is set for data that lies below the server's data root.
    """

    id: str
    name: str
    kind: str
    format: str
    rows: int
    good: int
    bad_count: int
    bad: tuple[BadRow, ...]
    classes: int
    labels: Mapping[str, int] | None
    bytes: int
    sha256: str
    created_at: str
    raw: Mapping[str, Any] = field(repr=False)
    columns: int | None = None
    features: int | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job and how far it is; `progress` is in [0, 1], times are seconds since 1970.

    `state` is queued, running, cancelling, cancelled, succeeded or failed. `result` is set when it has succeeded,
    `error` when it has failed; `attempts` counts how often a worker began or went on with it.
    """

    id: str
    type: str
    model: str
    dataset: str
    params: Mapping[str, Any]
    priority: int
    created_by: str
    state: str
    progress: float
    message: str
    metrics: Mapping[str, float]
    result: Mapping[str, Any] | None
    error: str | None
    attempts: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def over(self) -> bool:
        """Nothing more will happen to it."""
        return self.state in OVER


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One thing that happened to a job at `at`, in seconds since 1970; `number` grows within the job.

    `data` of a `state` event has `state`, of a `progress` event `progress` and `message`, of a `log` event `level` and
    `text`; that of a `metrics` event has values by name.
    """

    number: int
    kind: str
    at: float
    data: Mapping[str, Any]


def parse_dataset(body: Mapping[str, Any]) -> Dataset:
    return pick(Dataset, body, bad=tuple(pick(BadRow, row) for row in body["bad"]), raw=body)


def parse_job(body: Mapping[str, Any]) -> Job:
    return pick(Job, body, raw=body)
