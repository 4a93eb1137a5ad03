"""`/v1/jobs`: hand in work on models, follow it, cancel it."""

import asyncio
import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, fields
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import PlainTextResponse
from sse_starlette import EventSourceResponse, ServerSentEvent

from app.api.deps import CatalogDep, DatasetsDep, DeskDep, problems, require
from app.api.job_schemas import JobCard, JobList, JobRequest
from app.api.schemas import Limit
from app.jobs.admission import check_admission
from app.jobs.desk import JobDesk
from app.jobs.job import FINAL, Job, JobState, NewJob
from app.keys import ApiKey, Scope

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

READ = Depends(require(Scope.READ))
MayRunJobs = Annotated[ApiKey | None, Depends(require(Scope.JOBS))]
JobId = Annotated[str, Path(max_length=100)]
POLL_SECONDS = 0.5
PING_SECONDS = 15
STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}
TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}


@router.post("", status_code=202, responses=problems(400, 401, 403, 404, 422, 500, 503))
def submit_job(
    response: Response,
    desk: DeskDep,
    catalog: CatalogDep,
    datasets: DatasetsDep,
    key: MayRunJobs,
    body: JobRequest,
    idempotency_key: Annotated[
        str | None, Header(min_length=1, max_length=200, description="The same key again gives the same job")
    ] = None,
) -> JobCard:
    """Queue a job. What could only fail is refused at once; of each model one job runs at a time."""
    check_admission(catalog.store, datasets, body)
    actor = "anonymous" if key is None else key.name
    job, created = desk.submit(
        NewJob(
            id=_job_id(actor, idempotency_key),
            type=body.type,
            model=body.model,
            dataset=body.dataset,
            params=body.params.model_dump(),
            priority=body.priority,
            created_by=actor,
        )
    )
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    if not created:
        response.headers["Idempotent-Replayed"] = "true"
    return _card(job)


@router.get("", dependencies=[READ], responses=problems(401, 403, 404, 422, 500, 503))
def list_jobs(
    desk: DeskDep,
    limit: Annotated[Limit, Query()] = 20,
    after: Annotated[str | None, Query(max_length=100)] = None,
    model: Annotated[str | None, Query(max_length=100)] = None,
    state: JobState | None = None,
) -> JobList:
    """Jobs, newest first."""
    found = desk.page(limit + 1, after, model, state)
    page = found[:limit]
    return JobList(
        data=[_card(job) for job in page],
        has_more=len(found) > limit,
        first_id=page[0].id if page else None,
        last_id=page[-1].id if page else None,
    )


@router.get("/{job}", dependencies=[READ], responses=problems(401, 403, 404, 422, 500, 503))
def get_job(desk: DeskDep, job: JobId) -> JobCard:
    """A job: state, progress, metrics so far, result or error."""
    return _card(desk.get(job))


@router.post("/{job}/cancel", responses=problems(401, 403, 404, 409, 422, 500, 503))
def cancel_job(desk: DeskDep, job: JobId, key: MayRunJobs) -> JobCard:
    """Cancel a job. One that runs is `cancelling` until its process has ended."""
    del key
    return _card(desk.cancel(job))


@router.get("/{job}/log", dependencies=[READ], response_class=PlainTextResponse, responses=TEXT | problems(404, 503))
def get_log(desk: DeskDep, job: JobId) -> PlainTextResponse:
    """What the job has to tell a person, a line an event."""
    desk.get(job)
    lines = [f"{event.data['level']}: {event.data['text']}" for event in _all_events(desk, job, "log")]
    return PlainTextResponse("".join(f"{line}\n" for line in lines))


@router.get("/{job}/events", dependencies=[READ], responses=STREAM | problems(401, 403, 404, 422, 500, 503))
async def follow_job(
    request: Request,
    desk: DeskDep,
    job: JobId,
    last_event_id: Annotated[int, Header(ge=0, description="Go on after this event")] = 0,
) -> EventSourceResponse:
    """Server-sent events `state`, `progress`, `metrics` and `log`, from the first one on, until the job is over."""
    await asyncio.to_thread(desk.get, job)
    return EventSourceResponse(_events(request, desk, job, last_event_id), ping=PING_SECONDS)


async def _events(request: Request, desk: JobDesk, job: str, after: int) -> AsyncIterator[ServerSentEvent]:
    while not request.app.state.draining:
        # In this order: what happened before the end is then among the events.
        over = (await asyncio.to_thread(desk.get, job)).state in FINAL
        found = await asyncio.to_thread(desk.events, job, after)
        for event in found:
            after = event.number
            data = json.dumps({"at": event.at, **event.data})
            yield ServerSentEvent(data=data, event=event.kind, id=str(event.number))
        if over and not found:
            return
        if not found:
            await asyncio.sleep(POLL_SECONDS)


def _all_events(desk: JobDesk, job: str, kind: str) -> list[Any]:
    found = list(desk.events(job, 0, kind))
    while more := desk.events(job, found[-1].number if found else 0, kind):
        found.extend(more)
    return found


def _job_id(actor: str, key: str | None) -> str:
    """What the caller's key stands for, each actor having keys of its own; else in the order of time.

    The engine keeps SQLite's time in seconds, and takes jobs of one second in the order of their ids.
    """
    if key is None:
        return f"job_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(6)}"
    return f"job_{hashlib.sha256(json.dumps([actor, key]).encode()).hexdigest()[:24]}"


def _card(job: Job) -> JobCard:
    known = JobCard.model_fields.keys() & {field.name for field in fields(Job)}
    return JobCard(**{name: value for name, value in asdict(job).items() if name in known})
