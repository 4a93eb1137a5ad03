"""Works off one job: its stages one after the other in its child process, and what is told of them to the ledger."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from app.jobs.engine import Step
from app.jobs.folder import folder_of, tidy
from app.jobs.job import FINAL, Job, JobState
from app.jobs.kinds import STAGE_NAMES
from app.jobs.ledger import Ledger
from app.jobs.patience import patient
from app.jobs.process import ChildDiedError, ChildProcess, InterruptedByWorkerError, StageError
from app.jobs.stage import JobSpec
from app.jobs.tables import AWAY

log = logging.getLogger("howsure.jobs")

Found = TypeVar("Found")
OTHERS_WORK_SECONDS = 1.0


class Runner:
    """Shared by the threads that run jobs and the one that watches over them."""

    def __init__(
        self,
        ledger: Ledger,
        executor: str,
        folder: Path,
        attempts: int,
    ) -> None:
        self._ledger = ledger
        self._executor = executor
        self._folder = folder
        self._attempts = attempts
        self._children: dict[str, ChildProcess] = {}
        self._stopping = threading.Event()

    @property
    def jobs(self) -> tuple[str, ...]:
        """Jobs in hand."""
        return tuple(self._children)

    def run(self, identifier: str, step: Step) -> None:
        """To the end of the job, whichever it is. Does not return while the worker is stopping.

        Returning would tell the engine that the job is over; one that is handed back must stay unfinished.
        """
        job = self._taken_up(identifier)
        if job is None:
            return
        fields = {"event": "job_started", "job_id": job.id, "attempt": job.attempts + 1}
        log.info("job started", extra=fields | {"type": job.type, "model": job.model})
        if job.attempts:
            again = f"taken up again where it stopped: its worker or process died (attempt {job.attempts + 1})"
            self._patient(lambda: self._ledger.log(job.id, again))
        if job.attempts >= self._attempts:
            reason = f"given up: the worker or its process died in each of {self._attempts} attempts"
            self._finish(job, JobState.FAILED, "failed", error=reason)
            return
        try:
            self._work(job, step)
        except Exception as error:
            if self._stopping.is_set():
                # The engine was taken away under it.
                _wait_for_the_end()
            log.error("job failed inside howsure", exc_info=error, extra={"event": "job_crashed", "job_id": job.id})
            self._finish(job, JobState.FAILED, "failed", error=_reason(error))

    def cancel(self, identifier: str) -> None:
        """End the child of a job in hand."""
        child = self._children.get(identifier)
        if child is not None:
            child.interrupt()

    def stop(self) -> None:
        """End every child; their jobs stay unfinished."""
        self._stopping.set()
        for child in list(self._children.values()):
            child.interrupt()

    def _taken_up(self, identifier: str) -> Job | None:
        """The job as it was before this attempt, which is now recorded; None when there is nothing left to do."""
        while True:
            job = self._patient(lambda: self._ledger.find(identifier))
            if job is None or job.state in FINAL:
                return None
            if job.state is JobState.CANCELLING:
                self._finish(job, JobState.CANCELLED, "cancelled", as_owner=False)
                return None
            # Found as mine: the database went away between my starting it and its saying so.
            mine = job.state is JobState.RUNNING and job.executor == self._executor
            if mine or self._patient(lambda: self._ledger.start(identifier, self._executor)):
                return job
            # Another worker has it, or a caller cancelled it just now.
            if self._stopping.wait(OTHERS_WORK_SECONDS):
                _wait_for_the_end()

    def _work(self, job: Job, step: Step) -> None:
        folder = folder_of(self._folder, job.id)
        folder.mkdir(parents=True, exist_ok=True)
        JobSpec.of(job).write(folder)
        result: dict[str, Any] = {}
        with self._child(job, folder) as child:
            for stage in STAGE_NAMES[job.type]:
                outcome = step(stage, lambda stage=stage: self._stage(job, child, stage))  # type: ignore[misc]
                if "result" not in outcome:
                    break
                result |= outcome["result"]
        if "result" in outcome:
            self._finish(job, JobState.SUCCEEDED, "done", result=result)
        elif "failed" in outcome:
            self._finish(job, JobState.FAILED, "failed", error=outcome["failed"])
        else:
            self._finish(job, JobState.CANCELLED, "cancelled")

    @contextmanager
    def _child(self, job: Job, folder: Path) -> Iterator[ChildProcess]:
        with ChildProcess(folder, lambda message: self._heard(job.id, message)) as child:
            self._children[job.id] = child
            if self._stopping.is_set():
                child.interrupt()
            try:
                yield child
            finally:
                del self._children[job.id]

    def _stage(self, job: Job, child: ChildProcess, stage: str) -> dict[str, Any]:
        """What became of a stage, as a value: the engine keeps it, and an exception would not come back as it was."""
        reason = ""
        for _ in range(job.attempts, self._attempts):
            try:
                return {"result": child.run(stage)}
            except StageError as error:
                return {"failed": str(error)}
            except InterruptedByWorkerError:
                if self._stopping.is_set():
                    # Not even that may be kept as this step's outcome: the next worker has to run it.
                    _wait_for_the_end()
                return {"cancelled": True}
            except ChildDiedError as error:
                reason = str(error)
                log.error("child died", extra={"event": "child_died", "job_id": job.id, "reason": reason})
                self._patient(lambda reason=reason: self._ledger.log(job.id, reason, "error"))  # type: ignore[misc]
                child.close()
        return {"failed": f"{reason} ({self._attempts} attempts)"}

    def _heard(self, job: str, message: Mapping[str, Any]) -> None:
        if "log" in message:
            self._patient(lambda: self._ledger.log(job, message["log"]))
        else:
            told = message["progress"], message["message"], message["metrics"]
            self._patient(lambda: self._ledger.report(job, *told))

    def _finish(
        self,
        job: Job,
        state: JobState,
        message: str,
        *,
        result: Mapping[str, Any] | None = None,
        error: str | None = None,
        as_owner: bool = True,
    ) -> None:
        owner = self._executor if as_owner else None
        end = partial(self._ledger.finish, job.id, result=result, error=error, executor=owner)
        moved = self._patient(lambda: end(state, message))
        if not moved and state is JobState.SUCCEEDED:
            # Cancelled in the moment between the last stage and here: what was done stays done.
            moved = self._patient(lambda: end(JobState.CANCELLED, "cancelled when all was done"))
        if moved:
            with suppress(ValueError):  # what has no folder needs no tidying
                tidy(folder_of(self._folder, job.id))
        fields = {"event": "job_finished" if moved else "job_was_not_mine", "job_id": job.id, "state": state.value}
        log.info("job finished", extra=fields | {"reason": error})

    def _patient(self, call: Callable[[], Found]) -> Found:
        try:
            return patient(call, self._stopping)
        except AWAY:
            _wait_for_the_end()


def _wait_for_the_end() -> NoReturn:
    """Of this process, which is near: to return or to raise would tell the engine that the job is over."""
    while True:
        threading.Event().wait()


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return "the job failed inside howsure; see the worker's log"
