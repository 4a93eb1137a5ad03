"""`/v1/jobs`: hand in work on models, follow it, cancel it."""

import asyncio
import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, fields
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from sse_starlette import EventSourceResponse, ServerSentEvent

from app.api.deps import CatalogDep, DatasetsDep, DeskDep, SettingsDep, problems, require
from app.api.job_schemas import JobCard, JobList, JobRequest
from app.api.report_page import report_page
from app.api.schemas import Limit
from app.errors import NotFoundError, NotReadyError
from app.jobs.admission import check_admission
from app.jobs.desk import JobDesk
from app.jobs.evaluation_report import read_report
from app.jobs.job import FINAL, Job, JobState, NewJob
from app.keys import ApiKey, Scope

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

READ = Depends(require(Scope.READ))
MayRunJobs = Annotated[ApiKey | None, Depends(require(Scope.JOBS))]
# No more than printable characters: Postgres refuses a zero byte where SQLite takes it.
WORD = r"^[!-~]+$"
JobId = Annotated[str, Path(max_length=100, pattern=WORD)]
LARGEST_NUMBER = 2**63 - 1  # what the databases count to
POLL_SECONDS = 0.5
PING_SECONDS = 15
STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}
TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
READ_PROBLEMS = problems(401, 403, 404, 422, 500, 503)


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
    actor = "anonymous" if key is None else key.name
    wanted = NewJob(
        id=_job_id(actor, idempotency_key),
        type=body.type,
        model=body.model,
        dataset=body.dataset,
        params=body.params.model_dump(mode="json"),  # as they come back from the database
        priority=body.priority,
        created_by=actor,
    )
    # A call sent again is answered with its job, also when that could no longer be admitted.
    job, created = desk.replayed(wanted) if idempotency_key else None, False
    if job is None:
        check_admission(catalog.store, datasets, body)
        job, created = desk.submit(wanted)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    if not created:
        response.headers["Idempotent-Replayed"] = "true"
    return _card(job)


@router.get("", dependencies=[READ], responses=READ_PROBLEMS)
def list_jobs(
    desk: DeskDep,
    limit: Annotated[Limit, Query()] = 20,
    after: Annotated[str | None, Query(max_length=100, pattern=WORD)] = None,
    model: Annotated[str | None, Query(max_length=100, pattern=WORD)] = None,
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


@router.get("/{job}", dependencies=[READ], responses=READ_PROBLEMS)
def get_job(desk: DeskDep, job: JobId) -> JobCard:
    """A job: state, progress, metrics so far, result or error."""
    return _card(desk.get(job))


@router.post("/{job}/cancel", responses=problems(401, 403, 404, 409, 422, 500, 503))
def cancel_job(desk: DeskDep, job: JobId, key: MayRunJobs) -> JobCard:
    """Cancel a job. One that runs is `cancelling` until its process has ended."""
    del key
    return _card(desk.cancel(job))


@router.get("/{job}/log", dependencies=[READ], response_class=PlainTextResponse, responses=TEXT | READ_PROBLEMS)
def get_log(desk: DeskDep, job: JobId) -> PlainTextResponse:
    """What the job has to tell a person, a line an event."""
    desk.get(job)
    lines = [f"{event.data['level']}: {event.data['text']}" for event in _all_events(desk, job, "log")]
    return PlainTextResponse("".join(f"{line}\n" for line in lines))


@router.get("/{job}/report", dependencies=[READ], responses=READ_PROBLEMS)
def get_job_report(desk: DeskDep, settings: SettingsDep, job: JobId) -> dict[str, Any]:
    """What a job `evaluate` found: every measure of the network alone and as it is served, by precision."""
    found = desk.get(job)
    return {"job": found.id, "model": found.model, **read_report(settings.jobs, found)}


@router.get("/{job}/report.html", dependencies=[READ], response_class=HTMLResponse, responses=READ_PROBLEMS)
def get_job_report_page(desk: DeskDep, settings: SettingsDep, job: JobId) -> HTMLResponse:
    """The report of a job `evaluate` as a page for people."""
    found = desk.get(job)
    report = read_report(settings.jobs, found)
    title = f"{found.model} version {report['version']}: evaluation by {found.id}"
    return HTMLResponse(report_page(title, report["evaluations"], classes=report["classes"]))


@router.get("/{job}/events", dependencies=[READ], responses=STREAM | READ_PROBLEMS)
async def follow_job(
    request: Request,
    desk: DeskDep,
    job: JobId,
    last_event_id: Annotated[int, Header(ge=0, le=LARGEST_NUMBER, description="Go on after this event")] = 0,
) -> EventSourceResponse:
    """Server-sent events `state`, `progress`, `metrics` and `log`, from the first one on, until the job is over."""
    await desk.aside(partial(desk.get, job))
    return EventSourceResponse(_events(request, desk, job, last_event_id), ping=PING_SECONDS)


async def _events(request: Request, desk: JobDesk, job: str, after: int) -> AsyncIterator[ServerSentEvent]:
    while not request.app.state.draining:
        # In this order: what happened before the end is then among the events.
        try:
            over = (await desk.aside(partial(desk.get, job))).state in FINAL
            found = await desk.aside(partial(desk.events, job, after))
        except NotReadyError:
            # The caller has its answer already, and keeps it until the database is back.
            await asyncio.sleep(POLL_SECONDS)
            continue
        except NotFoundError:  # too old to be kept, since a moment ago
            return
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
