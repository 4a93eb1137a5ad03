"""The report that a job `evaluate` leaves in its folder, for whoever asks the service for it."""

import json
from pathlib import Path
from typing import Any

from app.errors import NotFoundError
from app.jobs.folder import folder_of
from app.jobs.job import Job, JobState

REPORT = "report.json"


def read_report(root: Path, job: Job) -> dict[str, Any]:
    """`evaluations`, the model's `classes` and its `version`. Raises NotFoundError that says why there is none."""
    if job.type != "evaluate":
        at = f"/v1/models/{job.model}/versions/N/report"
        raise NotFoundError(f"{job.id} is of type {job.type}: its report is that of the version it made, GET {at}")
    if job.state is not JobState.SUCCEEDED:
        raise NotFoundError(f"{job.id} has no report: it is {job.state.value}")
    try:
        found: dict[str, Any] = json.loads((folder_of(root, job.id) / REPORT).read_bytes())
    except FileNotFoundError as error:
        missing = f"the report of job {job.id} is not in {root}, which the worker must share with this server"
        raise NotFoundError(missing) from error
    return found
