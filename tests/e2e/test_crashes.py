"""`kill -9` of workers at random moments of real jobs: every job ends well, nothing is done twice or left behind."""

import random
import statistics
import time

import pytest

from app.jobs.kinds import STAGE_NAMES
from models.core.store import CheckpointStore
from tests.fixtures.jobs import children_of, runs

pytestmark = pytest.mark.timeout(3600)


@pytest.mark.parametrize(
    ("database_url", "workers"),
    [("sqlite", 1), pytest.param("postgres", 2, marks=pytest.mark.slow)],
    indirect=["database_url"],
)
def test_a_killed_worker_costs_no_job(shop, workers):
    _rounds(shop, workers, rounds=1)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_thirty_killed_workers_cost_no_job(shop, workers):
    _rounds(shop, workers, rounds=30)


def _rounds(shop, workers, rounds):
    for _ in range(workers):
        shop.start_worker()
    started = time.monotonic()
    jobs = [shop.submit(seed=0, promote=False)]
    shop.succeeded(jobs[0])
    usual = time.monotonic() - started
    moments = random.Random(7)
    pauses = []
    for number in range(1, rounds + 1):
        jobs.append(shop.submit(seed=number, promote=False))
        time.sleep(moments.uniform(0, usual))
        pauses += _kill(shop, jobs[-1])
    _check(shop, jobs)
    seconds = f"{statistics.median(pauses):.1f} s median, {max(pauses):.1f} s worst" if pauses else "none interrupted"
    print(f"{rounds} rounds, {workers} workers: {len(pauses)} begun or resumed after the kill, {seconds} later")


def _kill(shop, job):
    """Kill the job's worker, or any where none has it, and start another in its place; seconds until it went on."""
    busy = shop.worker_of(job)
    victim = busy or next(worker for worker in shop.workers if worker.poll() is None)
    children = children_of(victim)
    killed = time.time()
    victim.kill()
    victim.wait()
    shop.start_worker()
    shop.wait(lambda: not any(runs(child) for child in children), 5, "a child outlived its worker")
    attempts = shop.succeeded(job).attempts
    assert any(line.startswith("taken up again") for line in shop.log_of(job)) == (attempts > 1)
    states = shop.desk.events(job, 0, "state")
    return [event.at - killed for event in states if event.data["state"] == "running" and event.at > killed][:1]


def _check(shop, jobs):
    versions = CheckpointStore(shop.settings.store).versions("tiny")
    assert sorted(shop.desk.get(job).result["version"] for job in jobs) == versions[1:], "published once each"
    for job in jobs:
        finished = [line.split()[1] for line in shop.log_of(job) if line.startswith("stage ")]
        assert len(finished) == len(set(finished)), f"a stage ran twice to its end: {finished}"
        assert {path.stem for path in (shop.settings.jobs / job / "stages").iterdir()} == {*STAGE_NAMES["calibrate"]}
        left = {path.name for path in (shop.settings.jobs / job).iterdir()}
        assert left == {"base.json", "child.log", "spec.json", "stages"}
    assert not list((shop.settings.store / "tiny" / "versions").glob(".*"))
    assert shop.desk.counts() == {"succeeded": len(jobs)}
