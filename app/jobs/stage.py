"""What a stage of a job is given: the job's folder and specification, and ways to report."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from app.jobs.job import Job
from models.core.atomic import write_json

SPEC = "spec.json"


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What the child needs to know of its job, written into the job's folder before it starts."""

    id: str
    type: str
    model: str
    dataset: str
    params: dict[str, Any]
    created_by: str

    @classmethod
    def read(cls, folder: Path) -> Self:
        return cls(**json.loads((folder / SPEC).read_bytes()))

    @classmethod
    def of(cls, job: Job) -> Self:
        return cls(job.id, job.type, job.model, job.dataset, job.params, job.created_by)

    def write(self, folder: Path) -> None:
        write_json(folder / SPEC, asdict(self))


@dataclass(frozen=True, slots=True)
class StageContext:
    """Files that a stage leaves in `folder` are there when it is begun again after an interruption."""

    folder: Path
    spec: JobSpec
    say: Callable[[dict[str, Any]], None]

    def report(self, progress: float, message: str, metrics: Mapping[str, float] | None = None) -> None:
        """`progress` in [0, 1] of the whole job."""
        self.say({"progress": progress, "message": message, "metrics": dict(metrics or {})})

    def log(self, text: str) -> None:
        """A line for the reader of the job's log."""
        self.say({"log": text})


Stage = Callable[[StageContext], dict[str, Any]]
