"""`howsure jobs …`: the whole way from a file to a new version on a real server, and its edges on a scripted one."""

import json
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from app.cli import app
from tests.fixtures.job_replies import DATASET, JOB, RESULT, SUCCEEDED, event, stream

READY = (200, {}, {"status": "ready", "reasons": []})
QUEUED = (202, {}, JOB)
DONE = event(3, "state", state="succeeded")
MODEL = JOB["model"]


@pytest.fixture
def howsure(monkeypatch):
    """`howsure(url, *arguments)` in this process."""
    monkeypatch.delenv("HOWSURE_URL", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    return lambda url, *arguments: CliRunner().invoke(app, [*map(str, arguments), "--url", url])


def models(*names):
    return 200, {}, {"data": [{"id": name, "status": "ready"} for name in names], "has_more": False}


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_from_a_file_to_a_new_version_that_serves(howsure, start_server, tiny_store, digit_archive):
    settings = {"HOWSURE_SHIPPED": "", "HOWSURE_WORKER": "true", "HOWSURE_RELOAD_SECONDS": 0.1}
    server = start_server(HOWSURE_STORE=tiny_store.root, **settings)
    added = howsure(server.url, "datasets", "add", digit_archive.path, "--name", "ten digits")
    assert added.exit_code == 0, added.stderr
    assert "120 good" in added.stdout
    dataset = added.stdout.split()[0]

    gate = ["--param", "gate.max_nll_increase=9", "--param", "gate.max_ece_increase=1"]
    command = ["jobs", "submit", "calibrate", "--model", "tiny", "--method", "temperature", *gate]
    done = howsure(server.url, *command, "--dataset", digit_archive.path, "--watch")
    assert done.exit_code == 0, done.stderr
    report = f"{server.url}/v1/models/tiny/versions/2/report.html"
    assert done.stdout == f"tiny: version 2 is active: the gate held. Report: {report}\n"
    assert f"is dataset {dataset}, 120 good rows" in done.stderr
    lines = done.stderr.splitlines()
    assert lines.index("queued") < lines.index("running") < lines.index("the gate holds") < lines.index("succeeded")
    until(lambda: howsure(server.url, "models", "show", "tiny").stdout.startswith("tiny, version 2, ready"))

    (job,) = json.loads(howsure(server.url, "jobs", "list", "--model", "tiny", "--json").stdout)["data"]
    assert howsure(server.url, "jobs", "list", "--state", "failed").stdout.count("job_") == 0
    assert "method=temperature" in howsure(server.url, "jobs", "show", job["id"]).stdout
    assert "info: version 2 is active now" in howsure(server.url, "jobs", "log", job["id"]).stdout
    events = [
        json.loads(line) for line in howsure(server.url, "jobs", "watch", job["id"], "--json").stdout.splitlines()
    ]
    assert [entry["data"]["state"] for entry in events if entry["kind"] == "state"] == [
        "queued",
        "running",
        "succeeded",
    ]
    assert "has succeeded already" in howsure(server.url, "jobs", "cancel", job["id"]).stderr

    wrong = howsure(server.url, *command, "--param", "speed=1", "--dataset", dataset)
    assert wrong.exit_code == 1
    assert "params/speed: Extra inputs are not permitted" in wrong.stderr
    assert howsure(server.url, "datasets", "remove", dataset).stdout == f"{dataset} is deleted\n"


def test_submit_sends_what_was_asked(howsure, scripted):
    there = scripted(READY, QUEUED)
    options = ["--method", "auto", "--param", "gate.max_ece_increase=0.01", "--priority", 3]
    done = howsure(there.url, "jobs", "submit", "calibrate", "--model", "m", "--dataset", "ds_1", *options)
    assert done.exit_code == 0
    assert done.stdout == f"{JOB['id']} is queued; `howsure jobs watch {JOB['id']}` follows it\n"
    assert json.loads(there.asked[-1].body) == {
        "type": "calibrate",
        "model": "m",
        "dataset": "ds_1",
        "params": {"method": "auto", "gate": {"max_ece_increase": 0.01}},
        "priority": 3,
    }


def test_the_only_model_need_not_be_named(howsure, scripted):
    there = scripted(READY, models("m"), QUEUED)
    done = howsure(there.url, "jobs", "submit", "evaluate", "--dataset", "ds_1", "--json")
    assert json.loads(done.stdout) == JOB
    assert json.loads(there.asked[-1].body)["model"] == "m"


def test_of_several_models_one_is_to_be_named(howsure, scripted):
    there = scripted(READY, models("m", "n"))
    done = howsure(there.url, "jobs", "submit", "evaluate", "--dataset", "ds_1")
    assert "say which model" in done.stderr
    assert {asked.method for asked in there.asked} == {"GET"}


@pytest.mark.parametrize(("state", "status"), [("succeeded", 0), ("failed", 1), ("cancelled", 3)])
def test_the_exit_status_of_a_watch_is_the_end_of_the_job(howsure, scripted, state, status):
    over = JOB | {"state": state, "error": "row 3 is damaged" if state == "failed" else None}
    there = scripted(READY, stream(event(1, "state", state=state)), (200, {}, over))
    done = howsure(there.url, "jobs", "watch", JOB["id"])
    assert done.exit_code == status
    assert done.stderr == f"{state}\n"
    assert ("row 3 is damaged" in done.stdout) == (state == "failed")


def test_a_candidate_says_why_it_is_one(howsure, scripted):
    candidate = RESULT | {"promoted": False, "why": "ECE rose by 0.03, at most 0 is allowed"}
    there = scripted(READY, stream(DONE), (200, {}, SUCCEEDED | {"result": candidate}))
    done = howsure(there.url, "jobs", "watch", JOB["id"])
    assert done.stdout == (
        f"{MODEL}: version 2 stays a candidate: ECE rose by 0.03, at most 0 is allowed."
        f" Report: {there.url}/v1/models/{MODEL}/versions/2/report.html\n"
    )


def test_json_of_a_watch_is_an_event_a_line(howsure, scripted):
    there = scripted(READY, QUEUED, stream(event(1, "log", level="info", text="on"), DONE), (200, {}, SUCCEEDED))
    submit = ["jobs", "submit", "calibrate", "--model", "m", "--dataset", "ds_1"]
    done = howsure(there.url, *submit, "--watch", "--json")
    first, last = (json.loads(line) for line in done.stdout.splitlines())
    assert first == {"number": 1, "kind": "log", "at": 1_700_000_001.0, "data": {"level": "info", "text": "on"}}
    assert last["data"] == {"state": "succeeded"}
    assert done.stderr == f"{JOB['id']} is queued\n"


def test_control_c_ends_the_watching_and_says_how_to_end_the_job(scripted):
    there = scripted(READY, stream(event(1, "state", state="running")))
    command = [sys.executable, "-m", "app.cli", "jobs", "watch", JOB["id"], "--url", there.url]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # A shell that runs the tests in the background has them ignore Ctrl-C, and so would their children.
    watching = subprocess.Popen(command, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **pipes)
    deadline = time.monotonic() + 60
    while not any("events" in asked.path for asked in there.asked) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    watching.send_signal(signal.SIGINT)
    _, told = watching.communicate(timeout=60)
    assert watching.returncode == 130
    assert told.endswith(f"the job goes on. To end it: howsure jobs cancel {JOB['id']}\n")
    assert {asked.method for asked in there.asked} == {"GET"}


def test_cancel(howsure, scripted):
    there = scripted(READY, (200, {}, JOB | {"state": "cancelling"}))
    assert howsure(there.url, "jobs", "cancel", JOB["id"]).stdout == f"{JOB['id']} is cancelling\n"


def test_a_folder_is_uploaded_first(howsure, scripted, tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/1.png").write_bytes(b"picture")
    there = scripted(READY, (201, {}, DATASET), QUEUED)
    howsure(there.url, "jobs", "submit", "calibrate", "--model", "m", "--dataset", tmp_path)
    assert b"cat/1.png" in there.asked[1].body
    assert json.loads(there.asked[2].body)["dataset"] == DATASET["id"]
