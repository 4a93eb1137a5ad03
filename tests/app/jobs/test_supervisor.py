"""A worker beside the server: started again when it dies, ended with its server, and deaf to the terminal's Ctrl-C."""

import os
import signal
import subprocess
import sys
import time

import pytest

from app.jobs import supervisor as module
from app.jobs.supervisor import Supervisor
from app.settings import Settings
from tests.fixtures.jobs import runs


@pytest.fixture
def supervisor(tmp_path, monkeypatch):
    """`supervisor(lines)`: one that runs a program of these lines in the place of a worker."""
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.05)
    made = []

    def supervisor(lines):
        def started(self):
            command = [sys.executable, "-S", "-c", "import os, signal, sys, time\n" + lines]
            return subprocess.Popen(command, stdin=subprocess.PIPE, env=self._environment, start_new_session=True)

        monkeypatch.setattr(Supervisor, "_started", started)
        made.append(Supervisor(Settings(store=tmp_path / "store")))
        made[-1].start()
        return made[-1]

    yield supervisor
    for each in made:
        each.close(1)


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_started_again_after_every_death(supervisor, tmp_path, caplog):
    supervisor(f"open({str(tmp_path / 'starts')!r}, 'a').write('x'); sys.exit(3)")
    until(lambda: (tmp_path / "starts").exists() and len((tmp_path / "starts").read_text()) >= 3)
    ended = [record for record in caplog.records if record.event == "worker_ended"]
    assert ended[0].status == 3
    assert ended[1].again_in > ended[0].again_in


def test_told_to_stop_and_waited_for(supervisor, tmp_path):
    mark = tmp_path / "mark"
    running = supervisor(
        f"def end(*_):\n    time.sleep(0.3); open({str(mark)!r}, 'a').write('handed back'); os._exit(0)\n"
        f"signal.signal(signal.SIGTERM, end); open({str(mark)!r}, 'w').close(); time.sleep(60)"
    )
    until(mark.exists)
    running.close(10)
    assert mark.read_text() == "handed back"
    assert not runs(running._process.pid)


def test_killed_when_it_takes_too_long(supervisor, tmp_path):
    mark = tmp_path / "mark"
    running = supervisor(
        f"signal.signal(signal.SIGTERM, signal.SIG_IGN); open({str(mark)!r}, 'w').close(); time.sleep(60)"
    )
    until(mark.exists)
    started = time.monotonic()
    running.close(0.2)
    assert time.monotonic() - started < 5
    assert not runs(running._process.pid)


def test_what_cannot_be_started_is_tried_again(supervisor, monkeypatch, caplog):
    running = supervisor("time.sleep(60)")
    until(lambda: running._process)
    tries = []

    def full(self):
        tries.append(1)
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(Supervisor, "_started", full)
    running._process.kill()
    until(lambda: len(tries) >= 2)
    assert any(record.event == "worker_not_started" for record in caplog.records)


def test_a_real_worker_leads_a_session_of_its_own_and_ends_with_the_supervisor(tmp_path):
    running = Supervisor(Settings(store=tmp_path / "store"))
    running.start()
    until(lambda: running._process)
    pid = running._process.pid
    assert os.getsid(pid) == pid
    until(lambda: (tmp_path / "jobs/jobs.db").exists())
    started = time.monotonic()
    running.close(20)
    assert time.monotonic() - started < 10
    assert not runs(pid)
    assert running._process.returncode in (0, -signal.SIGTERM)
