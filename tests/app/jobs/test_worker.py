"""The watch of a worker over a real ledger and queue, without taking jobs; what it does with them is in tests/e2e."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import sqlalchemy as sa

from app.jobs import engine, tables
from app.jobs.job import JobState
from app.jobs.worker import Worker
from app.settings import Settings
from tests.fixtures.new_jobs import new_job

AWAY = "postgresql://someone:hunter2@127.0.0.1:1/howsure"


@pytest.fixture(params=["sqlite"])
def database_url(request, tmp_path):
    """What differs between databases is tested with ledger, workers and engine."""
    return f"sqlite:///{tmp_path}/jobs.db"


@pytest.fixture
def worker(database_url, ledger, tmp_path):
    worker = Worker(Settings(store=tmp_path / "store", jobs_database=database_url, worker_dead_seconds=1))
    engine.migrate(database_url)
    worker.queue = engine.JobQueue(worker.ledger.engine)
    worker.workers.enter(worker.executor)
    yield worker
    worker.queue.close()
    worker.ledger.engine.dispose()


@pytest.fixture
def job_of(worker, database):
    """`job_of(executor)`: the id of a job that it has in hand."""

    def job_of(executor):
        job = worker.ledger.add(new_job(), lambda connection: None)[0]
        with database.begin() as connection:
            worker.queue.enqueue(connection, job)
        taken = sa.text(
            "UPDATE workflow_status SET status = 'PENDING', executor_id = :executor WHERE workflow_uuid = :job"
        )
        with database.begin() as connection:
            connection.execute(taken, {"executor": executor, "job": job.id})
        assert worker.ledger.start(job.id, executor)
        return job.id

    return job_of


def test_the_jobs_of_the_silent_go_on_and_those_of_others_stay(worker, job_of, database):
    for executor in ("silent", "alive"):
        worker.workers.enter(executor)
    jobs = {executor: job_of(executor) for executor in ("silent", "alive", "gone", worker.executor)}
    quiet = sa.update(tables.workers).where(tables.workers.c.executor == "silent")
    with database.begin() as connection:
        connection.execute(quiet.values(seen_at=tables.workers.c.seen_at - 2))
    worker._sweep()
    states = {executor: worker.ledger.find(job).state for executor, job in jobs.items()}
    assert states == {
        "silent": JobState.QUEUED,
        "gone": JobState.QUEUED,
        "alive": JobState.RUNNING,
        worker.executor: JobState.RUNNING,
    }
    assert sorted(worker.queue.in_hand()) == sorted((jobs[name], name) for name in ("alive", worker.executor))


def test_the_engine_learns_of_a_job_that_is_over(worker, job_of):
    job = job_of("gone")
    worker.ledger.finish(job, JobState.SUCCEEDED, "done")
    worker._sweep()
    assert worker.queue.in_hand() == []
    assert worker.ledger.find(job).state is JobState.SUCCEEDED


def test_old_jobs_are_forgotten_with_their_folders(worker, job_of, database):
    job, young = job_of("A"), job_of("A")
    for each in (job, young):
        worker.ledger.finish(each, JobState.SUCCEEDED, "done")
        (worker.settings.jobs / each).mkdir(parents=True)
    with database.begin() as connection:
        old = sa.update(tables.jobs).where(tables.jobs.c.id == job)
        connection.execute(old.values(finished_at=time.time() - 31 * 86400))
    worker._forget_old()
    assert worker.ledger.find(job) is None
    assert [path.name for path in worker.settings.jobs.iterdir()] == [young]
    assert [found for found, _ in worker.queue.in_hand()] == [young]


def test_a_worker_that_was_given_up_is_told(worker):
    worker.workers.leave(worker.executor)
    assert worker._watch() is True


def test_after_an_outage_the_others_get_time_to_renew(worker, database, monkeypatch):
    """All rows are old then; the first to come back must not take the jobs of those who come a moment later."""
    worker.workers.enter("other")
    with database.begin() as connection:
        connection.execute(sa.update(tables.workers).values(seen_at=tables.workers.c.seen_at - 100))
    failures = [sa.exc.OperationalError("", {}, Exception("server closed"))]
    monkeypatch.setattr("app.jobs.worker.WATCH_SECONDS", 0.05)
    renew = worker.workers.renew

    def away_at_first(executor):
        if failures:
            raise failures.pop()
        return renew(executor)

    monkeypatch.setattr(worker.workers, "renew", away_at_first)
    watching = threading.Thread(target=worker._watch)
    watching.start()
    time.sleep(0.5)
    assert "other" in worker.workers.present()
    deadline = time.monotonic() + 5
    while "other" in worker.workers.present() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert worker.workers.present() == [worker.executor], "it never came back"
    worker._stop.set()
    watching.join()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, "stdin"])
def test_told_to_stop_while_the_database_is_away(tmp_path, end):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HOWSURE_")}
    environment |= {"HOWSURE_STORE": str(tmp_path / "store"), "HOWSURE_JOBS_DATABASE": AWAY}
    command = [sys.executable, "-m", "app.cli", "worker", "--ends-with-stdin"]
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stderr=output)
    deadline = time.monotonic() + 30
    while "database_away" not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    process.stdin.close() if end == "stdin" else process.send_signal(end)
    assert process.wait(5) == 0
    process.stdin.close()
    assert "hunter2" not in log.read_text()
