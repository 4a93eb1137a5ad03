"""The engine behind the jobs: DBOS Transact. The only file that imports it.

It gives a queue that survives restarts, one running job a model, priorities, and steps whose results are kept, so that
a job goes on after its last finished step. What it does not give is here or in `worker.py`: a version that does not
change with the source, an executor id of its own for every process, JSON instead of pickle.
"""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSConfig, DBOSPortableJSONSerializer

from app.jobs.job import NewJob

APPLICATION = "howsure"
QUEUE = "howsure-jobs"
WORKFLOW = "howsure-job"
# Raised by hand when the order of a job's stages changes. Jobs of an older version stay queued until a worker of that
# version takes them, so drain the queue before such an upgrade.
VERSION = "1"
POLL_SECONDS = 0.2

Step = Callable[[str, Callable[[], dict[str, Any]]], dict[str, Any]]
Run = Callable[[str, Step], None]


def migrate(url: str) -> None:
    """Make or update the engine's tables; safe when several processes do so at once."""
    DBOS.migrate(url)


class JobQueue:
    """The caller's side: put jobs in, take them out, set them going again. Its tables must be there."""

    def __init__(self, engine: sa.Engine) -> None:
        self._client = DBOSClient(
            system_database_engine=engine,
            serializer=DBOSPortableJSONSerializer(),
            application_name=APPLICATION,
            # A caller who waits wants to hear that the database is gone.
            retry_connection_errors=False,
        )

    def enqueue(self, connection: sa.Connection, job: NewJob) -> None:
        """Within the caller's transaction, so that a job is recorded and queued, or neither."""
        self._client.enqueue_in_transaction(
            connection,
            {
                "workflow_name": WORKFLOW,
                "queue_name": QUEUE,
                "workflow_id": job.id,
                "app_version": VERSION,
                "priority": job.priority,
                "queue_partition_key": job.model,
            },
            job.id,
        )

    def remove(self, job: str) -> None:
        """Take a job that has not begun out of the queue."""
        self._client.cancel_workflow(job)

    def in_hand(self) -> list[tuple[str, str]]:
        """Jobs that a worker took and has not ended, each with that worker's executor id."""
        found = self._client.list_workflows(
            status="PENDING", name=WORKFLOW, load_input=False, load_output=False, application_name=APPLICATION
        )
        return [(status.workflow_id, status.executor_id or "") for status in found]

    def resume(self, job: str) -> None:
        """Queue an interrupted job again; it goes on after its last finished step."""
        self._client.resume_workflow(job, queue_name=QUEUE)

    def forget(self, job: str) -> None:
        """Delete what the engine has kept of a finished job."""
        self._client.delete_workflow(job)

    def close(self) -> None:
        self._client.destroy()


def start_taking(url: str, executor: str, at_once: int, run: Run) -> None:
    """Begin to take jobs off the queue in threads of this process, at most `at_once`, and only one of each model."""
    config: DBOSConfig = {
        "name": APPLICATION,
        "system_database_url": url,
        "application_version": VERSION,
        "executor_id": executor,
        "serializer": DBOSPortableJSONSerializer(),
        "log_level": "WARNING",
        "enable_otlp": False,
    }
    DBOS(config=config)

    @DBOS.workflow(name=WORKFLOW)
    def workflow(job: str) -> None:
        run(job, _step)

    DBOS.launch()
    DBOS.register_queue(
        QUEUE,
        worker_concurrency=at_once,
        partition_concurrency=1,
        polling_interval_sec=POLL_SECONDS,
        on_conflict="always_update",
    )


def stop_taking() -> None:
    """Take no more jobs. Those in hand stay as they are: theirs is the worker's to say."""
    DBOS.destroy()


def _step(name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    return DBOS.run_step({"name": name}, work)
