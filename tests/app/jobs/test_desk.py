"""The desk over both databases: what the API tells of a job, and what it says while the database is away."""

import threading
import time

import pytest

from app.errors import ConflictError, InvalidError, NotFoundError, NotReadyError
from app.jobs.desk import JobDesk
from app.jobs.job import JobState
from app.jobs.ledger import Ledger
from app.jobs.workers import Workers
from tests.fixtures.new_jobs import new_job


@pytest.fixture
def desk(database_url):
    desk = JobDesk(database_url)
    yield desk
    desk.close()


def test_an_empty_database_is_made_ready(desk):
    assert desk.counts() == {}
    assert desk.page(10, None, None, None) == []
    assert desk.workers_alive(10) == 0


def test_submitted_found_listed_and_followed(desk):
    job, created = desk.submit(new_job(priority=3))
    assert created
    assert desk.get(job.id) == job
    assert desk.page(10, None, "tiny", JobState.QUEUED) == [job]
    assert [event.data["state"] for event in desk.events(job.id, 0)] == ["queued"]
    assert desk.using(job.dataset) == [job.id]
    assert desk.counts() == {"queued": 1}


def test_the_same_id_again(desk):
    wanted = new_job(seed=1)
    assert desk.replayed(wanted) is None
    job, _ = desk.submit(wanted)
    assert desk.submit(wanted) == (job, False)
    assert desk.replayed(wanted) == job
    for call in (desk.submit, desk.replayed):
        with pytest.raises(InvalidError, match="use a new key"):
            call(new_job(wanted.id, seed=2))
    assert desk.counts() == {"queued": 1}


def test_unknown_jobs(desk):
    for call in (desk.get, desk.cancel):
        with pytest.raises(NotFoundError, match="job_0"):
            call("job_0")
    with pytest.raises(NotFoundError, match="to go on after"):
        desk.page(10, "job_0", None, None)
    assert desk.events("job_0", 0) == []


def test_cancel(desk, database):
    waiting, running, done = (desk.submit(new_job())[0].id for _ in range(3))
    ledger = Ledger(database)
    for job in (running, done):
        ledger.start(job, "A")
    ledger.finish(done, JobState.SUCCEEDED, "done")
    for _ in range(2):
        assert desk.cancel(waiting).state is JobState.CANCELLED
        assert desk.cancel(running).state is JobState.CANCELLING
    with pytest.raises(ConflictError, match="has succeeded already"):
        desk.cancel(done)


def test_workers_are_alive_until_they_are_silent(desk, database):
    desk.counts()
    Workers(database, 10).enter("A")
    assert desk.workers_alive(10) == 1
    time.sleep(0.1)
    assert desk.workers_alive(0.05) == 0


def test_desks_that_open_at_once(database_url, at_once):
    desks = [JobDesk(database_url) for _ in range(3)]
    assert at_once(*[desk.counts for desk in desks for _ in range(2)]) == [{}] * 6
    for desk in desks:
        desk.close()


@pytest.mark.parametrize(
    "call",
    [
        lambda desk: desk.submit(new_job()),
        lambda desk: desk.get("job_1"),
        lambda desk: desk.page(1, None, None, None),
        lambda desk: desk.cancel("job_1"),
        lambda desk: desk.events("job_1", 0),
        lambda desk: desk.using("ds_1"),
        lambda desk: desk.counts(),
    ],
)
def test_an_absent_database_is_said_without_its_password(call, caplog, capfd):
    desk = JobDesk("postgresql://someone:hunter2@127.0.0.1:1/howsure")
    with pytest.raises(NotReadyError, match=r"the jobs database does not answer: .*refused") as raised:
        call(desk)
    shown = capfd.readouterr()
    assert "hunter2" not in raised.value.detail + caplog.text + shown.out + shown.err
    assert raised.value.headers["Retry-After"]
    desk.close()


def test_a_folder_that_cannot_be_made_is_an_absent_database_until_it_can(tmp_path):
    (tmp_path / "jobs").write_bytes(b"")
    desk = JobDesk(f"sqlite:///{tmp_path}/jobs/below/jobs.db")
    with pytest.raises(NotReadyError, match=r"cannot be made: .*Not a directory"):
        desk.counts()
    (tmp_path / "jobs").unlink()
    assert desk.counts() == {}
    desk.close()


def test_a_database_that_hangs_holds_up_nobody_for_long(monkeypatch):
    """One who opens waits as long as it takes; the others get an answer."""
    opened = threading.Event()
    monkeypatch.setattr("app.jobs.desk.OPENED_WITHIN_SECONDS", 0.1)
    monkeypatch.setattr("app.jobs.desk._opened", lambda _: opened.wait(10))
    desk = JobDesk("sqlite:////unused")
    first = threading.Thread(target=lambda: desk._open())
    first.start()
    time.sleep(0.1)
    with pytest.raises(NotReadyError, match="still being opened"):
        desk.counts()
    opened.set()
    first.join()


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_back_again_after_a_restart(desk, postgres):
    job = desk.submit(new_job())[0].id
    postgres.stop()
    with pytest.raises(NotReadyError):
        desk.get(job)
    postgres.ensure_postgres_running()
    assert desk.get(job).id == job
    assert desk.submit(new_job())[1]
