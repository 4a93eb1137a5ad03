"""What `/metrics` and `/health` show of the jobs: asked for without ever waiting long for the database."""

import asyncio
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from app.errors import NotReadyError
from app.jobs.desk import JobDesk

log = logging.getLogger("howsure.jobs")

LONGEST_WAIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class JobsSeen:
    """Jobs by state, those with none left out, and how many workers are alive."""

    counts: dict[str, int]
    workers: int


class Glance:
    """Asks in a thread of its own, and at most once at a time: a database that hangs holds up this thread alone."""

    def __init__(self, desk: JobDesk, dead_seconds: float) -> None:
        self._desk = desk
        self._dead_seconds = dead_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="howsure-glance")
        self._asked: Future[JobsSeen | None] | None = None

    async def look(self) -> JobsSeen | None:
        """None while the database is away, or slow. From one event loop only."""
        if self._asked is None or self._asked.done():
            self._asked = self._thread.submit(self._ask)
        answer = asyncio.wrap_future(self._asked)
        done, _ = await asyncio.wait({answer}, timeout=LONGEST_WAIT_SECONDS)
        return answer.result() if done else None

    def close(self) -> None:
        self._thread.shutdown(wait=False)

    def _ask(self) -> JobsSeen | None:
        try:
            return JobsSeen(self._desk.counts(), self._desk.workers_alive(self._dead_seconds))
        except (NotReadyError, SQLAlchemyError) as error:
            log.warning("jobs not seen", extra={"event": "jobs_not_seen", "reason": str(error)})
            return None
