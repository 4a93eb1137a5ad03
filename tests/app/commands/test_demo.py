"""`howsure demo` as people run it: a process that starts a server of its own."""

import os
import subprocess
import sys

import pytest

from tests.fixtures.server import CATS


@pytest.fixture
def demo(session_store, server):  # the server has filled the store
    """Run the demo on the session's store with these settings; the finished process."""

    def run(**env):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HOWSURE_")}
        environment |= {
            "HOWSURE_STORE": str(session_store),
            "HOWSURE_SHIPPED": "efficientnet-lite0",
            "HOWSURE_MAX_BATCH": "2",
            "COLUMNS": "80",
        } | env
        command = [sys.executable, "-m", "app.cli", "demo"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


def test_scores_the_photographs_and_stops_its_server(demo):
    # Settings of a real installation must not reach into the demo's server.
    done = demo(HOWSURE_PORT="1", HOWSURE_HOST="0.0.0.0", HOWSURE_API_KEYS="a:score:" + 64 * "0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    for shown in ("coffee.jpg", "espresso", "chelsea.jpg", "epistemic", "2 scored, 0 failed"):
        assert shown in done.stdout
    assert any(cat in done.stdout for cat in CATS)
    assert "The server stopped with exit status 0." in done.stdout
    assert "curl -F files=@" in done.stdout
    assert "http://127.0.0.1:8000/v1/images/score?model=efficientnet-lite0" in done.stdout


def test_says_why_the_server_died(demo):
    done = demo(HOWSURE_THREADS="many")
    assert done.returncode == 1
    said, last = done.stderr.splitlines()
    assert said == "error: the server ended with exit status 2. Its last words:"
    assert last.startswith("error: HOWSURE_THREADS: Input should be a valid integer")
