"""What may go wrong while a job runs, with real workers: cancel, hand-back, poison, a stalled worker, a full disk."""

import os
import signal
import subprocess
import time

import pytest

from app.errors import ConflictError
from app.jobs.job import JobState
from models.core.store import CheckpointStore
from tests.fixtures.jobs import children_of, runs

# What differs between the databases is tested with ledger, workers and engine.
mostly_sqlite = pytest.mark.parametrize(
    "database_url", ["sqlite", pytest.param("postgres", marks=pytest.mark.slow)], indirect=True
)


def _child_of(shop, job, worker):
    shop.wait_for(job, JobState.RUNNING)
    shop.wait(lambda: children_of(worker), 30, "no child")
    return children_of(worker)[0]


@mostly_sqlite
def test_a_running_job_is_cancelled_within_two_seconds_and_a_waiting_one_never_runs(shop):
    worker = shop.start_worker()
    running, waiting, last = shop.submit(), shop.submit(), shop.submit()
    child = _child_of(shop, running, worker)
    for _ in range(2):
        assert shop.desk.cancel(waiting).state is JobState.CANCELLED
    asked = time.monotonic()
    assert shop.desk.cancel(running).state in (JobState.CANCELLING, JobState.CANCELLED)
    shop.wait_for(running, JobState.CANCELLED)
    assert time.monotonic() - asked < 2
    assert not runs(child)
    with pytest.raises(ConflictError):
        shop.desk.cancel(shop.succeeded(last).id)
    assert shop.desk.get(waiting).attempts == 0


@mostly_sqlite
def test_one_job_of_a_model_at_a_time_in_the_order_of_priority(shop):
    waiting = [shop.submit(priority=priority, seed=seed) for seed, priority in enumerate((10, 10, 1))]
    shop.start_worker()
    shop.start_worker()
    first, second, urgent = map(shop.succeeded, waiting)
    assert urgent.finished_at <= first.started_at
    assert first.finished_at <= second.started_at


@mostly_sqlite
def test_sigterm_hands_the_job_back_and_the_next_worker_goes_on(shop):
    worker = shop.start_worker()
    job = shop.submit()
    child = _child_of(shop, job, worker)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(15) == 0
    assert not runs(child)
    given_back = shop.desk.get(job)
    assert (given_back.state, given_back.executor, given_back.attempts) == (JobState.QUEUED, None, 0)
    shop.start_worker()
    assert shop.succeeded(job).attempts == 1


@mostly_sqlite
def test_a_job_whose_process_dies_every_time_fails_and_the_worker_stays(shop):
    worker = shop.start_worker()
    job = shop.submit()
    killed = set()
    while shop.desk.get(job).finished_at is None:
        for child in children_of(worker):
            os.kill(child, signal.SIGKILL)
            killed.add(child)
        time.sleep(0.02)
    found = shop.desk.get(job)
    assert found.state is JobState.FAILED
    assert "SIGKILL" in found.error
    assert len(killed) == shop.settings.job_attempts
    shop.succeeded(shop.submit())
    assert worker.poll() is None


@mostly_sqlite
def test_a_job_that_takes_its_worker_with_it_is_given_up(shop):
    job = shop.submit()
    for attempt in range(1, shop.settings.job_attempts + 1):
        worker = shop.start_worker()
        shop.wait(lambda attempt=attempt: shop.desk.get(job).attempts == attempt, 30, "not taken up")
        worker.kill()
        worker.wait()
    shop.start_worker()
    found = shop.wait_for(job)
    assert found.state is JobState.FAILED
    assert "given up" in found.error


@mostly_sqlite
def test_a_stalled_worker_finds_its_job_gone_and_ends(shop):
    stalled = shop.start_worker()
    job = shop.submit()
    _child_of(shop, job, stalled)
    stalled.send_signal(signal.SIGSTOP)
    shop.start_worker()
    shop.wait(lambda: shop.worker_of(job) not in (None, stalled), 30, "not taken over")
    stalled.send_signal(signal.SIGCONT)
    assert stalled.wait(15) == 75
    version = shop.succeeded(job).result["version"]
    assert CheckpointStore(shop.settings.store).versions("tiny") == [1, version]


@mostly_sqlite
def test_a_full_disk_fails_the_job_and_leaves_the_active_version(shop):
    script = 'mkdir -p "$0" && mount -t tmpfs -o size=64k none "$0" && exec "$@"'
    mounted = ["unshare", "--mount", "sh", "-c", script, str(shop.settings.jobs)]
    if subprocess.run([*mounted, "true"], capture_output=True).returncode:
        mounted[1:1] = ["--user", "--map-root-user"]
    shop.start_worker(*mounted)
    found = shop.wait_for(shop.submit())
    assert found.state is JobState.FAILED
    assert "No space left on device" in found.error
    assert CheckpointStore(shop.settings.store).active("tiny").version == 1


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_job_goes_on_when_its_database_was_restarted(shop, postgres):
    worker = shop.start_worker()
    job = shop.submit()
    _child_of(shop, job, worker)
    postgres.stop()
    time.sleep(1)
    postgres.ensure_postgres_running()
    found = shop.succeeded(job)
    assert found.attempts == 1
    assert worker.poll() is None
