"""The ledger on SQLite and on Postgres: every move, who may make it, and who wins where two make it at once."""

from functools import partial

import pytest

from app.jobs.job import FINAL, JobState

ROUNDS = 10


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
    told = [event.data["state"] for event in ledger.events(running, kind="state")]
    assert told == ["queued", "running", "cancelling", "cancelled"]
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
