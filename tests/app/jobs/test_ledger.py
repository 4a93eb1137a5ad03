"""The ledger on SQLite and on Postgres: what is recorded of a job, told of it, found and forgotten."""

import math
import time
from functools import partial

import pytest
import sqlalchemy as sa

from app.jobs.job import JobState
from app.jobs.ledger import Ledger
from app.jobs.tables import jobs
from tests.fixtures.new_jobs import new_job


def test_a_new_job_waits(ledger):
    wanted = new_job(priority=3, seed=5)
    job, created = ledger.add(wanted, lambda _: None)
    assert created
    assert (job.state, job.progress, job.attempts, job.executor) == (JobState.QUEUED, 0, 0, None)
    assert (job.params, job.priority, job.created_by) == (wanted.params, 3, "test")
    assert (job.result, job.error, job.started_at, job.finished_at) == (None, None, None, None)
    assert abs(job.created_at - time.time()) < 30
    assert ledger.find(job.id) == job
    assert [event.data for event in ledger.events(job.id)] == [{"state": "queued"}]


def test_an_id_stands_for_one_job(ledger, at_once):
    queued = []
    wanted = new_job()
    found = at_once(*[lambda: ledger.add(wanted, lambda _: queued.append(1))] * 6)
    assert sorted(created for _, created in found) == [False] * 5 + [True]
    assert {job.id for job, _ in found} == {wanted.id}
    assert ledger.counts() == {"queued": 1}
    assert len(ledger.events(wanted.id)) == 1
    other = ledger.add(new_job(wanted.id, seed=9), lambda _: queued.append(2))
    assert (other[0].params["seed"], other[1]) == (0, False)
    assert 2 not in queued


def test_what_cannot_be_queued_is_not_recorded(ledger):
    def full(_):
        raise RuntimeError("queue")

    with pytest.raises(RuntimeError, match="queue"):
        ledger.add(new_job(), full)
    assert ledger.counts() == {}


def test_pages_newest_first_and_filtered(ledger, add):
    ids = [add(model=("tiny", "other")[number % 2]) for number in range(5)][::-1]
    with ledger.engine.begin() as connection:  # of one moment: the id decides
        connection.execute(sa.update(jobs).values(created_at=1234.5))
    assert [job.id for job in ledger.page(10)] == ids
    assert [job.id for job in ledger.page(2, ids[1])] == ids[2:4]
    assert [job.id for job in ledger.page(10, model="other")] == [ids[1], ids[3]]
    assert [job.id for job in ledger.page(10, ids[1], model="other")] == [ids[3]]
    ledger.request_cancel(ids[0])
    assert [job.id for job in ledger.page(10, state=JobState.CANCELLED)] == ids[:1]
    assert [job.id for job in ledger.page(10, state=JobState.RUNNING)] == []
    with pytest.raises(LookupError):
        ledger.page(2, "job_0")


def test_using_and_counts_see_open_jobs(ledger, add):
    first, second, other = add(dataset="ds_a"), add(dataset="ds_a"), add(dataset="ds_b")
    ledger.start(first, "A")
    assert sorted(ledger.using("ds_a")) == sorted([first, second])
    ledger.finish(first, JobState.FAILED, "failed")
    ledger.request_cancel(second)
    assert (ledger.using("ds_a"), ledger.using("ds_b")) == ([], [other])
    assert ledger.counts() == {"failed": 1, "cancelled": 1, "queued": 1}


def test_from_start_to_success(ledger, begun):
    job = begun()
    running = ledger.find(job)
    assert (running.state, running.executor, running.attempts) == (JobState.RUNNING, "A", 1)
    ledger.report(job, 0.4, "fitting", {"nll": 0.5})
    ledger.log(job, "as expected")
    assert ledger.finish(job, JobState.SUCCEEDED, "done", result={"version": 2}, executor="A")
    found = ledger.find(job)
    assert (found.state, found.progress, found.result, found.executor) == (JobState.SUCCEEDED, 1, {"version": 2}, None)
    assert found.created_at <= found.started_at <= found.finished_at
    events = ledger.events(job)
    assert [event.kind for event in events] == ["state", "state", "progress", "metrics", "log", "state"]
    assert [event.number for event in events] == sorted(event.number for event in events)
    assert events[2].data == {"progress": 0.4, "message": "fitting"}
    assert events[4].data == {"level": "info", "text": "as expected"}
    assert events[5].data == {"state": "succeeded", "message": "done"}


def test_events_go_on_after_a_number_by_kind_and_in_pages(ledger, begun):
    job, other = begun(), begun()
    for number in range(5):
        ledger.log((job, other)[number % 2], str(number))
    logs = ledger.events(job, kind="log")
    assert [event.data["text"] for event in logs] == ["0", "2", "4"]
    assert ledger.events(job, after=logs[0].number) == logs[1:]
    assert ledger.events(job, after=logs[0].number, limit=1) == logs[1:2]
    assert ledger.events(job, after=2**63 - 1) == []


def test_progress_never_falls_and_only_finite_metrics_are_kept(ledger, begun):
    job = begun()
    ledger.report(job, 0.5, "far", {"nll": 1.0, "ece": 0.1})
    ledger.report(job, 0.2, "again", {"nll": 0.9, "mce": math.nan, "ause": math.inf})
    found = ledger.find(job)
    assert (found.progress, found.message, found.metrics) == (0.5, "again", {"nll": 0.9, "ece": 0.1})
    assert ledger.events(job, kind="metrics")[-1].data == {"nll": 0.9}


def test_nothing_is_told_after_the_end(ledger, begun):
    job = begun()
    ledger.finish(job, JobState.FAILED, "failed", error="bad rows")
    ledger.report(job, 0.9, "late", {"nll": 1})
    ledger.log(job, "late")
    ledger.log("job_0", "nobody's")
    assert ledger.events(job)[-1].data == {"state": "failed", "message": "failed", "error": "bad rows"}
    assert ledger.find(job).message == "failed"


def test_metrics_told_at_once_are_all_kept(ledger, begun, at_once):
    job = begun()
    calls = [partial(ledger.report, job, number / 20, "", {f"m{number}": number}) for number in range(8)]
    assert at_once(*calls) == [None] * 8
    found = ledger.find(job)
    assert found.metrics == {f"m{number}": number for number in range(8)}
    assert found.progress == 7 / 20
    told = [event.data["progress"] for event in ledger.events(job, kind="progress")]
    assert told == sorted(told)


def test_old_jobs_are_found_and_forgotten(ledger, begun):
    old, young, running = begun(), begun(), begun()
    for job in (old, young):
        ledger.finish(job, JobState.SUCCEEDED, "done")
    with ledger.engine.begin() as connection:
        connection.execute(sa.update(jobs).where(jobs.c.id == old).values(finished_at=time.time() - 3 * 86400))
    assert ledger.finished_before(2) == [old]
    ledger.forget(old)
    ledger.forget(old)
    assert ledger.find(old) is None
    assert ledger.events(old) == []
    assert ledger.counts() == {"succeeded": 1, "running": 1}
    assert ledger.find(running) is not None


def test_tables_made_by_several_at_once(database, at_once):
    assert at_once(*[Ledger(database).create_tables] * 4) == [None] * 4
    assert Ledger(database).counts() == {}
