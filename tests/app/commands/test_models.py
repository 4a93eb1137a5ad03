"""`howsure models activate` and `rollback`, told apart by what a scripted server was asked."""

import json

import pytest
from typer.testing import CliRunner

from app.cli import app

READY = (200, {}, {"status": "ready", "reasons": []})


@pytest.fixture
def run(monkeypatch):
    monkeypatch.delenv("HOWSURE_URL", raising=False)
    return lambda *arguments: CliRunner().invoke(app, ["models", *map(str, arguments)])


def move(version):
    return {"version": version, "at": "2026-01-01T00:00:00+00:00", "actor": "ada", "reason": ""}


def versions(*moves):
    return 200, {}, {"data": [], "history": [move(version) for version in moves], "has_more": False}


def activated(version, previous, serving, reason=None):
    body = {"model": "m", "version": version, "previous": previous, "serving": serving, "reason": reason}
    return 200, {}, body | {"history": [move(version)]}


def test_activate_sends_version_and_reason(run, scripted):
    there = scripted(READY, activated(3, None, 3))
    done = run("activate", "m", 3, "--reason", "better", "--url", there.url)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "m: version 3 is active, before it was none\n", "")
    asked = there.asked[-1]
    assert (asked.method, asked.path) == ("POST", "/v1/models/m/activate")
    assert json.loads(asked.body) == {"version": 3, "reason": "better"}


@pytest.mark.parametrize(
    ("history", "goal"), [((1, 2), 1), ((1, 2, 3), 2), ((1, 2, 3, 3), 2), ((1, 3, 2, 1), 2), ((2, 1, 2), 1)]
)
def test_rollback_goes_to_the_version_before(run, scripted, history, goal):
    there = scripted(READY, versions(*history), activated(goal, history[-1], goal))
    assert run("rollback", "m", "--url", there.url).exit_code == 0
    assert json.loads(there.asked[-1].body) == {"version": goal, "reason": "roll back"}


@pytest.mark.parametrize("history", [(1,), (1, 1)])
def test_rollback_needs_a_version_before(run, scripted, history):
    there = scripted(READY, versions(*history))
    done = run("rollback", "m", "--url", there.url)
    assert (done.exit_code, len(there.asked)) == (1, 2)
    assert "none to go back to" in done.stderr


def test_a_server_that_is_still_loading_it(run, scripted):
    done = run("activate", "m", 2, "--url", scripted(READY, activated(2, 1, 1)).url)
    assert (done.exit_code, done.stderr) == (0, "this server is still loading it\n")


def test_a_server_that_cannot_load_it_is_an_error(run, scripted):
    there = scripted(READY, activated(2, 1, 1, "damaged"))
    done = run("activate", "m", 2, "--json", "--url", there.url)
    assert done.exit_code == 1
    assert json.loads(done.stdout)["reason"] == "damaged"
    assert done.stderr == "error: this server serves version 1 on, for it cannot load the other: damaged\n"


def test_add_sends_the_class_names_of_a_file(run, scripted, tmp_path):
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    there = scripted(READY, (201, {}, {"model": "m", "version": 2, "active": 1}))
    done = run("add", "m", "folder", "--classes", tmp_path / "classes.txt", "--url", there.url)
    assert (done.exit_code, done.stdout) == (0, "m: version 2 is there, version 1 is active\n")
    asked = there.asked[-1]
    assert (asked.method, asked.path) == ("POST", "/v1/models")
    assert json.loads(asked.body) == {"model": "m", "kind": "timm", "path": "folder", "classes": ["cat", "dog"]}


def test_add_takes_a_name_of_the_hub_in_place_of_a_path(run, scripted):
    there = scripted(READY, (201, {}, {"model": "m", "version": 1, "active": 1}))
    assert run("add", "m", "--hub", "org/name", "--kind", "causal_lm", "--url", there.url).exit_code == 0
    assert json.loads(there.asked[-1].body) == {"model": "m", "kind": "causal_lm", "hub": "org/name"}


@pytest.mark.parametrize("source", [(), ("folder", "--hub", "org/name")])
def test_add_takes_one_source(run, source):
    done = run("add", "m", *source)
    assert (done.exit_code, done.stderr.count("one of them")) == (2, 1)
