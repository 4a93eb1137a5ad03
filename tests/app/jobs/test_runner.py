"""A runner over a real ledger with scripted children: every end of a job, and what is left to others."""

import threading
import time

import pytest

from app.jobs import runner as module
from app.jobs.job import JobState
from app.jobs.runner import Runner
from tests.fixtures.new_jobs import new_job

ATTEMPTS = 3


@pytest.fixture(params=["sqlite"])
def database_url(request, tmp_path):
    """What differs between databases is tested with the ledger."""
    return f"sqlite:///{tmp_path}/jobs.db"


@pytest.fixture
def runner(ledger, workers, tmp_path):
    return Runner(ledger, "A", tmp_path / "jobs", ATTEMPTS)


@pytest.fixture
def job(ledger):
    return ledger.add(new_job(), lambda _: None)[0].id


@pytest.fixture
def evaluation(ledger):
    return ledger.add(new_job(type="evaluate"), lambda _: None)[0].id


@pytest.fixture
def steps():
    """An engine's step that keeps results by name."""

    class Steps(dict):
        def __call__(self, name, work):
            if name not in self:
                self[name] = work()
            return self[name]

    return Steps()


@pytest.fixture
def in_thread():
    """Runs of jobs in threads, which a stopping runner leaves to wait: they are daemons, as DBOS' own."""

    def in_thread(runner, job, steps):
        thread = threading.Thread(target=runner.run, args=(job, steps), daemon=True)
        thread.start()
        return thread

    return in_thread


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def logs(ledger, job):
    return [event.data for event in ledger.events(job, kind="log")]


def test_to_success(scripted_child, runner, ledger, job, steps, tmp_path):
    scripted_child(
        "say(progress=0.5, message=stage, metrics={'nll': 1.5})\n"
        "say(log='did ' + stage)\nsay(result={stage: len(stage)})"
    )
    runner.run(job, steps)
    found = ledger.find(job)
    assert (found.state, found.progress, found.attempts) == (JobState.SUCCEEDED, 1.0, 1)
    assert found.result == {"outputs": 7, "fit": 3, "publish": 7, "promote": 7}
    assert found.metrics == {"nll": 1.5}
    assert [line["text"] for line in logs(ledger, job)] == ["did outputs", "did fit", "did publish", "did promote"]
    assert list(steps) == ["outputs", "fit", "publish", "promote"]
    assert (tmp_path / "jobs" / job / "spec.json").exists()
    assert runner.jobs == ()
    runner.run(job, steps)
    assert ledger.find(job) == found, "what is over is left alone"


def test_finished_steps_are_not_begun_again(scripted_child, runner, ledger, evaluation, steps):
    scripted_child("say(result={stage: os.getpid()})")
    steps["outputs"] = {"result": {"outputs": 0}}
    runner.run(evaluation, steps)
    assert ledger.find(evaluation).result["outputs"] == 0
    assert ledger.find(evaluation).result["report"] > 0


def test_a_stage_that_fails_ends_the_job_with_its_reason(scripted_child, runner, ledger, job, steps, tmp_path):
    scripted_child(f"os.makedirs({str(tmp_path / 'jobs' / job / 'outputs')!r})\nsay(error='row 3')")
    runner.run(job, steps)
    found = ledger.find(job)
    assert (found.state, found.error, found.result) == (JobState.FAILED, "row 3", None)
    assert list(steps) == ["outputs"]
    assert not (tmp_path / "jobs" / job / "outputs").exists(), "tidied, as after a success"


def test_a_child_that_dies_is_tried_again(scripted_child, runner, ledger, evaluation, steps, tmp_path):
    died = tmp_path / "died"
    scripted_child(
        f"if not os.path.exists({str(died)!r}):\n    open({str(died)!r}, 'w')\n    os._exit(7)\nsay(result={{}})"
    )
    runner.run(evaluation, steps)
    assert ledger.find(evaluation).state is JobState.SUCCEEDED
    (line,) = logs(ledger, evaluation)
    assert (line["level"], "status 7" in line["text"]) == ("error", True)


def test_a_child_that_dies_every_time_fails_the_job(scripted_child, runner, ledger, job, steps):
    scripted_child("os._exit(7)")
    runner.run(job, steps)
    found = ledger.find(job)
    assert found.state is JobState.FAILED
    assert "status 7" in found.error
    assert "3 attempts" in found.error
    assert len(logs(ledger, job)) == ATTEMPTS


def test_a_job_that_took_its_workers_with_it_is_given_up(scripted_child, runner, ledger, job, steps, workers):
    scripted_child("say(result={})")
    for executor in "BCB":
        assert ledger.start(job, executor)
        workers.leave(executor)
        assert ledger.take_over(job, "A")
        workers.enter(executor)
    runner.run(job, steps)
    found = ledger.find(job)
    assert (found.state, "given up" in found.error, steps) == (JobState.FAILED, True, {})


def test_cancelled_while_it_runs(scripted_child, runner, ledger, job, steps, in_thread):
    scripted_child("say(log='busy'); time.sleep(60)")
    thread = in_thread(runner, job, steps)
    until(lambda: logs(ledger, job))
    assert runner.jobs == (job,)
    assert ledger.request_cancel(job) is JobState.CANCELLING
    runner.cancel("job_0")
    runner.cancel(job)
    thread.join(10)
    assert ledger.find(job).state is JobState.CANCELLED
    assert steps == {"outputs": {"cancelled": True}}


def test_cancelled_before_it_is_taken_up(scripted_child, runner, ledger, job, steps):
    ledger.request_cancel(job)
    runner.run(job, steps)
    assert steps == {}
    other = ledger.add(new_job(), lambda _: None)[0].id
    ledger.start(other, "C")
    ledger.request_cancel(other)  # whoever had it died before it could say so
    runner.run(other, steps)
    assert (ledger.find(other).state, steps) == (JobState.CANCELLED, {})


def test_cancelled_when_all_was_done_keeps_the_result(scripted_child, runner, ledger, evaluation, steps):
    scripted_child("say(result={stage: 1})")

    def cancelling_at_the_end(name, work):
        outcome = steps(name, work)
        if name == "report":
            ledger.request_cancel(evaluation)
        return outcome

    runner.run(evaluation, cancelling_at_the_end)
    found = ledger.find(evaluation)
    assert (found.state, found.message) == (JobState.CANCELLED, "cancelled when all was done")
    assert found.result == {"outputs": 1, "report": 1}


def test_a_stopping_runner_keeps_its_jobs_unfinished(scripted_child, runner, ledger, job, steps, in_thread):
    scripted_child("say(log='busy'); time.sleep(60)")
    thread = in_thread(runner, job, steps)
    until(lambda: logs(ledger, job))
    runner.stop()
    thread.join(0.5)
    assert thread.is_alive(), "to return would tell the engine that the job is over"
    assert (ledger.find(job).state, steps) == (JobState.RUNNING, {})
    assert ledger.hand_back(job, "A")


def test_an_engine_that_goes_away_under_a_stopping_runner_fails_nothing(scripted_child, runner, ledger, job, in_thread):
    scripted_child("say(result={})")

    def destroyed(name, work):
        work()
        runner.stop()
        raise RuntimeError("the engine was destroyed")

    thread = in_thread(runner, job, destroyed)
    until(lambda: not runner.jobs and ledger.find(job).attempts)
    thread.join(0.5)
    assert (thread.is_alive(), ledger.find(job).state) == (True, JobState.RUNNING)


def test_a_job_handed_back_in_its_last_moment_is_neither_done_nor_cancelled(
    scripted_child, runner, ledger, evaluation, steps
):
    scripted_child("say(result={})")

    def handed_back_at_the_end(name, work):
        outcome = steps(name, work)
        if name == "report":
            ledger.hand_back(evaluation, "A")
        return outcome

    runner.run(evaluation, handed_back_at_the_end)
    assert ledger.find(evaluation).state is JobState.QUEUED


def test_one_that_was_given_up_leaves_job_and_folder_to_the_other(
    scripted_child, runner, ledger, job, workers, tmp_path
):
    scripted_child("say(error='as seen by the one that was given up')")
    left = tmp_path / "jobs" / job / "outputs"

    def taken_over(name, work):
        outcome = work()
        workers.leave("A")
        assert ledger.take_over(job, "B")
        assert ledger.start(job, "B")
        left.mkdir()
        return outcome

    runner.run(job, taken_over)
    found = ledger.find(job)
    assert (found.state, found.executor, found.error) == (JobState.RUNNING, "B", None)
    assert left.exists()


def test_a_job_in_other_hands_is_waited_for(scripted_child, runner, ledger, job, steps, in_thread, monkeypatch):
    monkeypatch.setattr(module, "OTHERS_WORK_SECONDS", 0.05)
    ledger.start(job, "B")
    thread = in_thread(runner, job, steps)
    thread.join(0.3)
    assert thread.is_alive()
    ledger.finish(job, JobState.SUCCEEDED, "done", executor="B")
    thread.join(10)
    assert (thread.is_alive(), steps, ledger.find(job).attempts) == (False, {}, 1)


def test_a_fault_of_ours_fails_the_job(scripted_child, runner, ledger, job, caplog):
    def broken(name, work):
        raise RuntimeError("hunter2")

    runner.run(job, broken)
    found = ledger.find(job)
    assert (found.state, found.error) == (JobState.FAILED, "the job failed inside howsure; see the worker's log")
    assert "hunter2" in caplog.text


def test_a_folder_that_cannot_be_made_is_the_reason(runner, ledger, job, steps, tmp_path):
    (tmp_path / "jobs").write_text("a file")
    runner.run(job, steps)
    found = ledger.find(job)
    assert found.state is JobState.FAILED
    assert "Not a directory" in found.error or "File exists" in found.error


def test_an_id_that_is_a_path_is_refused(runner, ledger, steps, tmp_path):
    job = ledger.add(new_job("../outside"), lambda _: None)[0].id
    runner.run(job, steps)
    assert ledger.find(job).state is JobState.FAILED
    assert not (tmp_path / "outside").exists()
