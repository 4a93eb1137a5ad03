"""The record of every job: the one truth that the API shows and the workers write. Each change is one transaction.

A change that a job's state no longer allows does nothing and returns False: two workers, or a worker and a caller who
cancels, can meet here and only one of them wins.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from app.jobs.job import FINAL, OPEN, Job, JobEvent, JobState, NewJob
from app.jobs.tables import events, jobs, now, tables, workers

# Held until the transaction ends, by whoever makes the tables; the number stands for that alone.
LOCK = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "SELECT pg_advisory_xact_lock(7460115)"}


class Ledger:
    """Safe for several processes and threads."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._now = now(engine)

    def create_tables(self) -> None:
        """Safe when several processes do so at once."""
        with self.engine.begin() as connection:
            connection.exec_driver_sql(LOCK[self.engine.dialect.name])
            tables.create_all(connection)

    def add(self, job: NewJob, enqueue: Callable[[sa.Connection], None]) -> tuple[Job, bool]:
        """Record a job and enqueue it in one transaction; a job of that id is returned as it is, with False."""
        try:
            with self.engine.begin() as connection:
                connection.execute(sa.insert(jobs).values(**_columns(job), created_at=self._now))
                self._note(connection, job.id, "state", {"state": JobState.QUEUED})
                enqueue(connection)
        except sa.exc.IntegrityError:
            existing = self.find(job.id)
            if existing is None:
                raise
            return existing, False
        return self._existing(job.id), True

    def find(self, job: str) -> Job | None:
        with self.engine.connect() as connection:
            row = connection.execute(sa.select(jobs).where(jobs.c.id == job)).mappings().first()
        return None if row is None else _job(row)

    def page(
        self, limit: int, after: str | None = None, *, model: str | None = None, state: JobState | None = None
    ) -> list[Job]:
        """Newest first, going on below the job `after`. Raises LookupError where that is not there."""
        query = sa.select(jobs).order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(limit)
        if model is not None:
            query = query.where(jobs.c.model == model)
        if state is not None:
            query = query.where(jobs.c.state == state)
        if after is not None:
            last = self._existing(after)
            query = query.where(sa.tuple_(jobs.c.created_at, jobs.c.id) < sa.tuple_(last.created_at, last.id))
        with self.engine.connect() as connection:
            return [_job(row) for row in connection.execute(query).mappings()]

    def using(self, dataset: str) -> list[str]:
        """Jobs that are not over and use the dataset."""
        query = sa.select(jobs.c.id).where(jobs.c.dataset == dataset, jobs.c.state.in_(OPEN))
        with self.engine.connect() as connection:
            return [str(found) for found in connection.execute(query).scalars()]

    def counts(self) -> dict[str, int]:
        """Jobs by state, those with none left out."""
        query = sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state)
        with self.engine.connect() as connection:
            return {str(state): int(count) for state, count in connection.execute(query)}

    def start(self, job: str, executor: str) -> bool:
        """A worker takes the job up, for the first time or again; only from the queue, so never from another worker."""
        values = {
            "state": JobState.RUNNING,
            "executor": executor,
            "attempts": jobs.c.attempts + 1,
            "started_at": sa.func.coalesce(jobs.c.started_at, self._now),
            "message": "started",
        }
        return self._move(job, (JobState.QUEUED,), values, {"executor": executor})

    def request_cancel(self, job: str) -> JobState | None:
        """`cancelled` where nobody works on it, `cancelling` where somebody does; None where it was over already."""
        finished = {"state": JobState.CANCELLED, "finished_at": self._now, "message": "cancelled before it began"}
        if self._move(job, (JobState.QUEUED,), finished):
            return JobState.CANCELLED
        if self._move(job, (JobState.RUNNING,), {"state": JobState.CANCELLING, "message": "cancelling"}):
            return JobState.CANCELLING
        found = self._existing(job)
        return None if found.state in FINAL else found.state

    def finish(
        self,
        job: str,
        state: JobState,
        message: str,
        *,
        result: Mapping[str, Any] | None = None,
        error: str | None = None,
        executor: str | None = None,
    ) -> bool:
        """The end of a job, once: a cancelled job does not succeed afterwards.

        With `executor` only while that worker has the job: one that was given up, or handed it back, has no say in it.
        """
        before = (JobState.RUNNING,) if state is JobState.SUCCEEDED else OPEN
        mine = None if executor is None else jobs.c.executor == executor
        values: dict[str, Any] = {"state": state, "message": message, "error": error, "finished_at": self._now}
        values["result"] = None if result is None else dict(result)
        values["executor"] = None
        if state is JobState.SUCCEEDED:
            values["progress"] = 1.0
        note = {"message": message} | ({"error": error} if error else {})
        return self._move(job, before, values, note, where=mine)

    def take_over(self, job: str, mine: str) -> bool:
        """A worker makes the job of an absent one ready to be queued again; of several workers only one succeeds.

        Who is present is asked in the same statement: since the caller looked, another may have come and begun it.
        """
        absent = sa.or_(jobs.c.executor.is_(None), jobs.c.executor.not_in(sa.select(workers.c.executor)))
        begun_by_me = sa.or_(absent, jobs.c.executor == mine)  # taken over, but not queued: the database went away
        waiting = {"executor": mine, "state": JobState.QUEUED, "message": "waiting for a worker again"}
        cancelling = {"executor": mine, "state": JobState.CANCELLING}
        return (
            self._move(job, (JobState.RUNNING,), waiting, where=absent)
            or self._move(job, (JobState.QUEUED,), waiting, where=begun_by_me)
            or self._move(job, (JobState.CANCELLING,), cancelling, where=begun_by_me)
        )

    def hand_back(self, job: str, executor: str) -> bool:
        """Queue again the job of a worker that stops. The attempt does not count: the job did not end it.

        A job that is to be cancelled is cancelled by this: its child has ended.
        """
        values = {"state": JobState.QUEUED, "attempts": jobs.c.attempts - 1, "message": "handed back by its worker"}
        mine = jobs.c.executor == executor
        if self._move(job, (JobState.RUNNING,), values | {"executor": None}, {"from": executor}, where=mine):
            return True
        cancelled = {"state": JobState.CANCELLED, "finished_at": self._now, "message": "cancelled", "executor": None}
        self._move(job, (JobState.CANCELLING,), cancelled, {"message": "cancelled"}, where=mine)
        return False

    def report(self, job: str, progress: float, message: str, metrics: Mapping[str, float]) -> None:
        """Progress never falls; a metric keeps its last value. What is not finite is left out: JSON cannot say it.

        As with `log`, what comes after the end of the job is dropped: its last event is its end.
        """
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        with self.engine.begin() as connection:
            row = self._locked(connection, job)
            if row is None:
                return
            values = {"progress": max(row.progress, progress), "message": message, "metrics": row.metrics | finite}
            connection.execute(sa.update(jobs).where(jobs.c.id == job).values(values))
            self._note(connection, job, "progress", {"progress": values["progress"], "message": message})
            if finite:
                self._note(connection, job, "metrics", finite)

    def log(self, job: str, text: str, level: str = "info") -> None:
        with self.engine.begin() as connection:
            if self._locked(connection, job) is not None:
                self._note(connection, job, "log", {"level": level, "text": text})

    def events(self, job: str, after: int = 0, limit: int = 500, kind: str | None = None) -> Sequence[JobEvent]:
        """In order, those with a larger number than `after`."""
        query = sa.select(events).where(events.c.job == job, events.c.number > after)
        if kind is not None:
            query = query.where(events.c.kind == kind)
        with self.engine.connect() as connection:
            rows = connection.execute(query.order_by(events.c.number).limit(limit)).all()
        return [JobEvent(row.number, row.kind, row.at, row.data) for row in rows]

    def finished_before(self, days: float) -> Sequence[str]:
        """Jobs that ended longer ago than so many days."""
        query = sa.select(jobs.c.id).where(jobs.c.finished_at < self._now - days * 86400)
        with self.engine.connect() as connection:
            return [str(job) for job in connection.execute(query).scalars()]

    def forget(self, job: str) -> None:
        """Delete a finished job and its events."""
        with self.engine.begin() as connection:
            connection.execute(sa.delete(events).where(events.c.job == job))
            connection.execute(sa.delete(jobs).where(jobs.c.id == job))

    def _locked(self, connection: sa.Connection, job: str) -> Any:
        """The open job's row, held until the transaction ends: so its events appear in the order of their numbers.

        By a change, since SQLite has no SELECT FOR UPDATE: two who add to the metrics would lose one of them.
        """
        hold = sa.update(jobs).where(jobs.c.id == job, jobs.c.state.in_(OPEN)).values(message=jobs.c.message)
        return connection.execute(hold.returning(jobs.c.progress, jobs.c.metrics)).first()

    def _existing(self, job: str) -> Job:
        found = self.find(job)
        if found is None:
            raise LookupError(job)
        return found

    def _move(
        self,
        job: str,
        before: Iterable[JobState],
        values: Mapping[str, Any],
        note: Mapping[str, Any] | None = None,
        *,
        where: sa.ColumnElement[bool] | None = None,
    ) -> bool:
        change = sa.update(jobs).where(jobs.c.id == job, jobs.c.state.in_(list(before))).values(**values)
        if where is not None:
            change = change.where(where)
        with self.engine.begin() as connection:
            if connection.execute(change).rowcount == 0:
                return False
            self._note(connection, job, "state", {"state": values["state"], **(note or {})})
        return True

    def _note(self, connection: sa.Connection, job: str, kind: str, data: Mapping[str, Any]) -> None:
        connection.execute(sa.insert(events).values(job=job, kind=kind, at=self._now, data=dict(data)))


def _columns(job: NewJob) -> dict[str, Any]:
    return {
        "id": job.id,
        "type": job.type,
        "model": job.model,
        "dataset": job.dataset,
        "params": dict(job.params),
        "priority": job.priority,
        "created_by": job.created_by,
        "state": JobState.QUEUED,
        "progress": 0.0,
        "message": "waiting for a worker",
        "metrics": {},
        "attempts": 0,
    }


def _job(row: Mapping[Any, Any]) -> Job:
    return Job(**{**row, "state": JobState(row["state"])})
