"""A worker: takes jobs off the queue, shows that it is alive, and sees to the jobs of workers that are not.

Its end comes in three ways. SIGTERM (or the end of its stdin, where another process has started it): it takes no more,
ends its children and hands their jobs back. `kill -9`: the others, or it itself when it is started again, find its
jobs by its silence. Silence while it still lives, stopped or cut off: the others have its jobs now, so it ends at once.
"""

import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from types import FrameType

from app.jobs import engine
from app.jobs.folder import folder_of
from app.jobs.job import FINAL, JobState
from app.jobs.ledger import Ledger
from app.jobs.patience import patient
from app.jobs.runner import Runner
from app.jobs.tables import AWAY, open_database
from app.jobs.workers import Workers
from app.settings import Settings

log = logging.getLogger("howsure.worker")

WATCH_SECONDS = 0.5
RETENTION_SECONDS = 3600.0
GIVEN_UP = 75  # EX_TEMPFAIL: start me again


class Worker:
    """One a process: the engine is global to it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.executor = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        database = open_database(settings.jobs_database)
        self.ledger = Ledger(database)
        self.workers = Workers(database, settings.worker_dead_seconds)
        self.queue: engine.JobQueue
        self.runner = Runner(self.ledger, self.executor, settings.jobs, settings.job_attempts)
        self._stop = threading.Event()

    def run(self, *, ends_with_stdin: bool = False) -> int:
        """Until it is told to stop. The process's exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._told_to_stop)
        if ends_with_stdin:
            threading.Thread(target=self._wait_for_stdin, name="howsure-stdin", daemon=True).start()
        try:
            self._begin()
        except AWAY:
            if not self._stop.is_set():
                raise
            return 0
        lost = self._watch()
        self.runner.stop()
        if lost:
            log.critical("given up by the other workers", extra={"event": "worker_given_up"})
            return GIVEN_UP
        self._hand_back()
        return 0

    def _begin(self) -> None:
        patient(self.ledger.create_tables, self._stop)
        patient(lambda: engine.migrate(self.settings.jobs_database), self._stop)
        self.queue = patient(lambda: engine.JobQueue(self.ledger.engine), self._stop)
        patient(lambda: self.workers.enter(self.executor), self._stop)
        engine.start_taking(self.settings.jobs_database, self.executor, self.settings.worker_jobs, self.runner.run)
        fields = {"event": "worker_ready", "executor": self.executor, "jobs_at_once": self.settings.worker_jobs}
        log.info("worker ready", extra=fields)

    def _watch(self) -> bool:
        """Look after everything until told to stop; True when this worker has been given up by the others."""
        beat = sweep = retain = 0.0
        while not self._stop.wait(WATCH_SECONDS):
            moment = time.monotonic()
            try:
                self._cancel_asked_for()
                if moment >= beat:
                    beat = moment + self.settings.worker_dead_seconds / 5
                    if not self.workers.renew(self.executor):
                        return True
                if moment >= sweep:
                    sweep = moment + self.settings.worker_dead_seconds / 5
                    self._sweep()
                if moment >= retain:
                    retain = moment + RETENTION_SECONDS
                    self._forget_old()
            except Exception as error:
                # The database may be away, and whatever else it is must not end the watch over running jobs.
                log.error("watch failed", exc_info=error, extra={"event": "watch_failed"})
                # Nobody could renew a row meanwhile: the others get the time to do so before they count as silent.
                sweep = time.monotonic() + self.settings.worker_dead_seconds
        return False

    def _cancel_asked_for(self) -> None:
        for job in self.runner.jobs:
            found = self.ledger.find(job)
            if found is not None and found.state is JobState.CANCELLING:
                self.runner.cancel(job)

    def _sweep(self) -> None:
        """Set going again what belongs to workers that are silent or gone."""
        for executor in self.workers.remove_silent():
            log.warning("worker silent", extra={"event": "worker_silent", "executor": executor})
        present = self.workers.present()
        for job, executor in self.queue.in_hand():
            if executor not in present and self._is_mine_to_resume(job):
                self.queue.resume(job)
                log.info("job taken over", extra={"event": "job_taken_over", "job_id": job, "from": executor})

    def _is_mine_to_resume(self, job: str) -> bool:
        # One that is over needs no runner, but the engine must see its end, or it holds up the model's next job.
        found = self.ledger.find(job)
        return found is None or found.state in FINAL or self.ledger.take_over(job, self.executor)

    def _forget_old(self) -> None:
        for job in self.ledger.finished_before(self.settings.job_days):
            shutil.rmtree(folder_of(self.settings.jobs, job), ignore_errors=True)
            self.queue.forget(job)
            self.ledger.forget(job)

    def _hand_back(self) -> None:
        """The engine first, or it would take back what is put into the queue."""
        mine = self.runner.jobs
        engine.stop_taking()
        with suppress(Exception):  # what does not work here, the others' sweep does a little later
            for job in mine:
                if self.ledger.hand_back(job, self.executor):
                    self.queue.resume(job)
            self.workers.leave(self.executor)
        log.info("worker stopped", extra={"event": "worker_stopped", "handed_back": len(mine)})

    def _told_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stop.set()

    def _wait_for_stdin(self) -> None:
        sys.stdin.buffer.read()
        self._stop.set()
