"""Where the API hands jobs in and asks after them. Opens the database when it is first needed, and again if need be."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from app.errors import ConflictError, InvalidError, NotFoundError, NotReadyError
from app.jobs import engine
from app.jobs.job import FINAL, Job, JobEvent, JobState, NewJob
from app.jobs.ledger import Ledger
from app.jobs.tables import AWAY, open_database, why_away
from app.jobs.workers import Workers

Found = TypeVar("Found")
OPENED_WITHIN_SECONDS = 15.0
THREADS = 4


@dataclass(frozen=True, slots=True)
class _Opened:
    ledger: Ledger
    queue: engine.JobQueue


class JobDesk:
    """Safe for several threads. Every method raises NotReadyError while the database is away."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._opened: _Opened | None = None
        self._lock = threading.Lock()
        # Not the loop's own threads, of which scoring has need: a database that hangs would hold them all.
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="howsure-desk")

    async def aside(self, call: Callable[[], Found]) -> Found:
        """For coroutines: what a call of this desk gives or raises, made in one of the desk's own threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def submit(self, job: NewJob) -> tuple[Job, bool]:
        """The job, and whether it is new. Raises InvalidError where its id stands for another job."""
        with _present():
            opened = self._open()
            found, created = opened.ledger.add(job, lambda connection: opened.queue.enqueue(connection, job))
        return _same(found, job), created

    def replayed(self, job: NewJob) -> Job | None:
        """The job that has this id already. Raises InvalidError where it is another one."""
        with _present():
            found = self._open().ledger.find(job.id)
        return None if found is None else _same(found, job)

    def get(self, job: str) -> Job:
        """Raises NotFoundError."""
        with _present():
            found = self._open().ledger.find(job)
        if found is None:
            raise NotFoundError(f"no job {job!r}; GET /v1/jobs lists those that are there")
        return found

    def page(self, limit: int, after: str | None, model: str | None, state: JobState | None) -> Sequence[Job]:
        """Newest first. Raises NotFoundError for an unknown `after`."""
        with _present():
            try:
                return self._open().ledger.page(limit, after, model=model, state=state)
            except LookupError as error:
                raise NotFoundError(f"no job {after!r} to go on after") from error

    def cancel(self, job: str) -> Job:
        """Cancelled at once where nobody works on it, else as soon as its process has ended.

        Raises NotFoundError, and ConflictError for a job that is over.
        """
        self.get(job)
        with _present():
            opened = self._open()
            if opened.ledger.request_cancel(job) is JobState.CANCELLED:
                opened.queue.remove(job)
        found = self.get(job)
        if found.state in FINAL and found.state is not JobState.CANCELLED:
            raise ConflictError(f"{job} has {found.state.value} already")
        return found

    def events(self, job: str, after: int, kind: str | None = None) -> Sequence[JobEvent]:
        """The next events of a job, in order."""
        with _present():
            return self._open().ledger.events(job, after, kind=kind)

    def using(self, dataset: str) -> list[str]:
        """Jobs that are not over and use the dataset."""
        with _present():
            return self._open().ledger.using(dataset)

    def counts(self) -> dict[str, int]:
        """Jobs by state."""
        with _present():
            return self._open().ledger.counts()

    def workers_alive(self, dead_seconds: float) -> int:
        """How many workers were heard of within so many seconds."""
        with _present():
            return Workers(self._open().ledger.engine, dead_seconds).alive()

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._opened is not None:
            self._opened.queue.close()
            self._opened.ledger.engine.dispose()

    def _open(self) -> _Opened:
        if self._opened is not None:
            return self._opened
        if not self._lock.acquire(timeout=OPENED_WITHIN_SECONDS):
            raise NotReadyError("the jobs database is still being opened")
        try:
            self._opened = self._opened or _opened(self._url)
            return self._opened
        finally:
            self._lock.release()


def _opened(url: str) -> _Opened:
    try:
        database = open_database(url)
    except OSError as error:
        raise NotReadyError(f"the folder of the jobs database cannot be made: {error}") from error
    try:
        ledger = Ledger(database)
        # First what gives up soon: the engine's own connections wait for minutes.
        ledger.create_tables()
        engine.migrate(url)
        return _Opened(ledger, engine.JobQueue(database))
    except BaseException:
        database.dispose()
        raise


def _same(found: Job, job: NewJob) -> Job:
    if (found.type, found.model, found.dataset, found.params) != (job.type, job.model, job.dataset, job.params):
        raise InvalidError(f"this Idempotency-Key was used for another job, {found.id}: use a new key")
    return found


@contextmanager
def _present() -> Iterator[None]:
    try:
        yield
    except AWAY as error:
        raise NotReadyError(f"the jobs database does not answer: {why_away(error)}") from error
