"""The ledger on SQLite and on Postgres: every move, who may make it, and who wins where two make it at once."""

import math
import time
from functools import partial

import pytest
import sqlalchemy as sa

from app.jobs.job import FINAL, JobState
from app.jobs.ledger import Ledger
from app.jobs.tables import jobs
from tests.fixtures.new_jobs import new_job

ROUNDS = 10


@pytest.fixture
def add(ledger):
    """`add(…)`: the id of a new job, as `new_job`."""

    def add(*args, **fields):
        return ledger.add(new_job(*args, **fields), lambda _: None)[0].id

    return add


@pytest.fixture
def begun(ledger, add, workers):
    """The id of a job that worker A has."""

    def begun():
        job = add()
        assert ledger.start(job, "A")
        return job

    return begun


def states(ledger, job):
    return [event.data["state"] for event in ledger.events(job, kind="state")]


def test_a_new_job_waits(ledger):
    wanted = new_job(priority=3, seed=5)
    job, created = ledger.add(wanted, lambda _: None)
    assert created
    assert (job.state, job.progress, job.attempts, job.executor) == (JobState.QUEUED, 0, 0, None)
    assert (job.params, job.priority, job.created_by) == (wanted.params, 3, "test")
    assert (job.result, job.error, job.started_at, job.finished_at) == (None, None, None, None)
    assert abs(job.created_at - time.time()) < 30
    assert ledger.find(job.id) == job
    assert states(ledger, job.id) == ["queued"]


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


@pytest.mark.parametrize("end", sorted(FINAL))
def test_an_end_is_the_end(ledger, begun, end):
    job = begun()
    assert ledger.finish(job, end, "over", error="why")
    before = ledger.find(job)
    assert not any(ledger.finish(job, state, "again") for state in FINAL)
    assert not ledger.start(job, "B")
    assert not ledger.take_over(job, "B")
    assert not ledger.hand_back(job, "A")
    assert ledger.request_cancel(job) is None
    assert ledger.find(job) == before


def test_of_two_starts_one_wins(ledger, add, workers, at_once):
    for _ in range(ROUNDS):
        job = add()
        assert sorted(at_once(*(partial(ledger.start, job, executor) for executor in "ABC"))) == [False, False, True]
        assert ledger.find(job).attempts == 1


def test_cancel_by_state(ledger, add, begun):
    waiting, running = add(), begun()
    assert ledger.request_cancel(waiting) is JobState.CANCELLED
    assert not ledger.start(waiting, "A")
    assert ledger.find(waiting).finished_at is not None
    assert ledger.request_cancel(running) is JobState.CANCELLING
    assert ledger.request_cancel(running) is JobState.CANCELLING
    assert not ledger.finish(running, JobState.SUCCEEDED, "done", executor="A")
    assert ledger.finish(running, JobState.CANCELLED, "cancelled", executor="A")
    assert states(ledger, running) == ["queued", "running", "cancelling", "cancelled"]
    with pytest.raises(LookupError):
        ledger.request_cancel("job_0")


def test_cancel_against_finish(ledger, begun, at_once):
    for _ in range(ROUNDS):
        job = begun()
        asked, done = at_once(
            partial(ledger.request_cancel, job),
            partial(ledger.finish, job, JobState.SUCCEEDED, "done", executor="A"),
        )
        expected = (None, JobState.SUCCEEDED) if done else (JobState.CANCELLING, JobState.CANCELLING)
        assert (asked, ledger.find(job).state) == expected


def test_cancel_against_start(ledger, add, workers, at_once):
    for _ in range(ROUNDS):
        job = add()
        asked, begun = at_once(partial(ledger.request_cancel, job), partial(ledger.start, job, "A"))
        assert asked is (JobState.CANCELLING if begun else JobState.CANCELLED)
        assert ledger.find(job).state is asked


def test_the_job_of_an_absent_worker_is_taken_over_by_one(ledger, begun, workers, at_once):
    for _ in range(ROUNDS):
        job = begun()
        assert not ledger.take_over(job, "B"), "A is alive"
        workers.leave("A")
        assert sorted(at_once(partial(ledger.take_over, job, "B"), partial(ledger.take_over, job, "C"))) == [
            False,
            True,
        ]
        found = ledger.find(job)
        assert (found.state, found.attempts) == (JobState.QUEUED, 1)
        assert found.executor in ("B", "C")
        assert ledger.take_over(job, found.executor), "may be repeated by the one who could not queue it"
        assert ledger.start(job, "B")
        assert ledger.find(job).attempts == 2
        workers.enter("A")


def test_a_sweep_with_an_old_picture_takes_no_running_job(ledger, begun, workers):
    """B saw A's job; meanwhile C has taken it over, and C, or B itself, has begun it."""
    for new in ("B", "C"):
        job = begun()
        workers.leave("A")
        ledger.take_over(job, "C")
        ledger.start(job, new)
        assert not ledger.take_over(job, "B")
        assert (ledger.find(job).state, ledger.find(job).executor) == (JobState.RUNNING, new)
        workers.enter("A")


def test_a_job_that_is_to_be_cancelled_stays_so_when_taken_over(ledger, begun, workers):
    job = begun()
    ledger.request_cancel(job)
    workers.leave("A")
    assert ledger.take_over(job, "B")
    assert ledger.find(job).state is JobState.CANCELLING
    assert not ledger.take_over(job, "C")


def test_who_was_given_up_has_no_say(ledger, begun, workers):
    job = begun()
    workers.leave("A")
    ledger.take_over(job, "B")
    for state in (JobState.RUNNING, JobState.QUEUED):
        assert not any(ledger.finish(job, end, "mine", executor="A") for end in FINAL)
        assert not ledger.hand_back(job, "A")
        found = ledger.find(job)
        assert found.finished_at is None
        if state is JobState.RUNNING:
            ledger.start(job, "B")
    assert (found.state, found.executor) == (JobState.RUNNING, "B")


def test_handed_back_jobs_wait_and_the_attempt_does_not_count(ledger, begun):
    job = begun()
    assert ledger.hand_back(job, "A")
    found = ledger.find(job)
    assert (found.state, found.executor, found.attempts) == (JobState.QUEUED, None, 0)
    assert not ledger.finish(job, JobState.SUCCEEDED, "done", executor="A")
    assert ledger.start(job, "B")


def test_handing_back_a_job_to_be_cancelled_cancels_it(ledger, begun):
    job = begun()
    ledger.request_cancel(job)
    assert not ledger.hand_back(job, "A")
    assert (ledger.find(job).state, ledger.find(job).executor) == (JobState.CANCELLED, None)


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
