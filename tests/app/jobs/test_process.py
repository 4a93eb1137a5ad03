"""The worker's side of a child process: answers, deaths of every kind, interruption, and nothing left behind."""

import os
import threading
import time

import pytest

from app.jobs.process import LOG, ChildDiedError, ChildProcess, InterruptedByWorkerError, StageError
from tests.fixtures.jobs import runs


@pytest.fixture
def told():
    return []


@pytest.fixture
def child(tmp_path, told):
    with ChildProcess(tmp_path, told.append) as child:
        yield child


def process_of(child):
    return child._started().pid


def test_reports_then_the_result_stage_by_stage(scripted_child, child, told):
    scripted_child("say(log=stage)\nsay(result={'pid': os.getpid()})")
    first, second = child.run("one"), child.run("two")
    assert told == [{"log": "one"}, {"log": "two"}]
    assert first == second, "one process for all stages"


def test_an_error_is_the_stages_own_word(scripted_child, child):
    scripted_child("say(error='row 3 is bad')")
    with pytest.raises(StageError, match=r"^row 3 is bad$"):
        child.run("one")


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "signal SIGKILL in stage one"),
        ("print('no memory', file=sys.stderr); sys.exit(3)", "status 3 in stage one; its last line was: no memory"),
        ("sys.exit(0)", "status 0 in stage one"),
        # Killed in the middle of a line: neither a message nor a fault of howsure.
        ('sys.stdout.write(\'{"log": "ha\'); sys.stdout.flush(); os._exit(9)', "status 9 in stage one"),
    ],
)
def test_a_death_is_told_with_its_cause_and_another_may_be_started(scripted_child, child, lines, reason):
    scripted_child(lines)
    with pytest.raises(ChildDiedError) as raised:
        child.run("one")
    assert reason in str(raised.value)
    child.close()
    scripted_child("say(result={})")
    assert child.run("one") == {}


def test_interrupted_in_its_work(scripted_child, child):
    scripted_child("say(log='busy'); time.sleep(60)")
    threading.Timer(0.3, child.interrupt).start()
    started = time.monotonic()
    with pytest.raises(InterruptedByWorkerError):
        child.run("one")
    assert time.monotonic() - started < 5
    with pytest.raises(InterruptedByWorkerError):
        child.run("two")


def test_interrupted_before_it_began_none_is_started(scripted_child, child, tmp_path):
    scripted_child("say(result={})")
    child.interrupt()
    with pytest.raises(InterruptedByWorkerError):
        child.run("one")
    assert not (tmp_path / LOG).exists()


@pytest.mark.parametrize("end", ["close", "interrupt"])
def test_what_the_child_has_started_ends_with_it(scripted_child, child, end):
    scripted_child(
        "import subprocess\nhelper = subprocess.Popen(['sleep', '60'], stdout=2)\nsay(result={'pid': helper.pid})"
    )
    grandchild, pid = child.run("one")["pid"], process_of(child)
    assert runs(grandchild)
    getattr(child, end)()
    deadline = time.monotonic() + 5
    while (runs(grandchild) or runs(pid)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not runs(grandchild)
    assert not runs(pid)


def test_a_child_that_does_not_end_by_itself_is_ended(scripted_child, child, monkeypatch):
    monkeypatch.setattr("app.jobs.process.GRACE_SECONDS", 0.2)
    scripted_child("say(result={}); time.sleep(60)")
    child.run("one")
    pid = process_of(child)
    child.close()
    child.close()
    assert not runs(pid)


def test_no_file_stays_open(scripted_child, tmp_path, told):
    scripted_child("say(result={})")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with ChildProcess(tmp_path, told.append) as child:
            child.run("one")
    assert len(os.listdir("/proc/self/fd")) == before
