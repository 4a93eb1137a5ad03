"""What a job is: its states, its record, its events. Plain values, known to the API, the worker and the child."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class JobState(StrEnum):
    """Where a job stands. `cancelling` lasts until the process that works on it has ended."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


FINAL = frozenset({JobState.CANCELLED, JobState.SUCCEEDED, JobState.FAILED})
OPEN = frozenset(JobState) - FINAL


@dataclass(frozen=True, slots=True)
class NewJob:
    """What a caller asks for; `params` have been checked against the job's type."""

    id: str
    type: str
    model: str
    dataset: str
    params: Mapping[str, Any]
    priority: int = 10  # 1 runs first
    created_by: str = "anonymous"


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the ledger has it; times are seconds since 1970 by the database's clock."""

    id: str
    type: str
    model: str
    dataset: str
    params: dict[str, Any]
    priority: int
    created_by: str
    state: JobState
    progress: float  # in [0, 1]
    message: str
    metrics: dict[str, float]
    result: dict[str, Any] | None
    error: str | None
    attempts: int  # how often a worker began or went on with it
    executor: str | None  # the worker that has it now
    created_at: float
    started_at: float | None
    finished_at: float | None


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One thing that happened to a job; `number` grows within the job. `kind` is state, progress, metrics or log."""

    number: int
    kind: str
    at: float
    data: dict[str, Any]
