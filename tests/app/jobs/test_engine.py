"""What the engine must do for us: the queue's side on both databases; taking jobs is tested by tests/e2e."""

import pytest
import sqlalchemy as sa

from app.jobs import engine
from tests.fixtures.new_jobs import new_job


@pytest.fixture
def queue(database_url, database):
    engine.migrate(database_url)
    queue = engine.JobQueue(database)
    yield queue
    queue.close()


@pytest.fixture
def rows(database):
    """The engine's rows of jobs: id → (status, priority, partition, version, form of its input)."""
    prefix = "dbos." if database.dialect.name == "postgresql" else ""
    columns = "workflow_uuid, status, priority, queue_partition_key, application_version, serialization"

    def rows():
        with database.connect() as connection:
            found = connection.execute(sa.text(f"SELECT {columns} FROM {prefix}workflow_status")).all()
        return {row[0]: tuple(row[1:]) for row in found}

    return rows


def enqueue(database, queue, job):
    with database.begin() as connection:
        queue.enqueue(connection, job)


def take(database, job, executor):
    """As a worker's engine does."""
    prefix = "dbos." if database.dialect.name == "postgresql" else ""
    taken = f"UPDATE {prefix}workflow_status SET status = 'PENDING', executor_id = :executor WHERE workflow_uuid = :job"
    with database.begin() as connection:
        connection.execute(sa.text(taken), {"executor": executor, "job": job})


def test_migrations_may_run_again_and_at_once(database_url, at_once):
    assert at_once(*[lambda: engine.migrate(database_url)] * 3) == [None] * 3
    engine.migrate(database_url)


def test_a_queued_job_has_priority_partition_and_pinned_version(database, queue, rows):
    job = new_job(priority=3)
    enqueue(database, queue, job)
    assert rows()[job.id] == ("ENQUEUED", 3, "tiny", engine.VERSION, "portable_json")


def test_a_transaction_that_fails_queues_nothing(database, queue, rows):
    job = new_job()
    with database.connect() as connection:
        queue.enqueue(connection, job)
        connection.rollback()
    assert rows() == {}


def test_in_hand_resume_and_remove(database, queue, rows):
    jobs = [new_job() for _ in range(3)]
    for job in jobs:
        enqueue(database, queue, job)
    assert queue.in_hand() == []
    take(database, jobs[0].id, "A")
    assert queue.in_hand() == [(jobs[0].id, "A")]
    queue.resume(jobs[0].id)
    assert queue.in_hand() == []
    assert rows()[jobs[0].id][:3] == ("ENQUEUED", 10, "tiny")
    queue.remove(jobs[1].id)
    assert rows()[jobs[1].id][0] == "CANCELLED"
    assert rows()[jobs[2].id][0] == "ENQUEUED"


def test_forget_may_be_repeated(database, queue, rows):
    job = new_job()
    enqueue(database, queue, job)
    queue.forget(job.id)
    queue.forget(job.id)
    assert rows() == {}


def test_an_absent_database_is_raised_without_its_password(caplog, capfd):
    with pytest.raises(sa.exc.OperationalError) as raised:
        engine.migrate("postgresql://someone:hunter2@127.0.0.1:1/howsure")
    shown = capfd.readouterr()
    assert "hunter2" not in str(raised.value) + caplog.text + shown.out + shown.err
