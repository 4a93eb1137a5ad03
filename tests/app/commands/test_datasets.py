"""`howsure datasets …`, told apart by what a scripted server was asked."""

import json

import pytest
from typer.testing import CliRunner

from app.cli import app
from tests.fixtures.job_replies import DATASET
from tests.fixtures.scripted import HANG_UP

READY = (200, {}, {"status": "ready", "reasons": []})
ADDED = (201, {}, DATASET)
REFUSED = {
    "status": 422,
    "code": "invalid",
    "detail": "30 of 60 rows are bad, more than 5%",
    "errors": [{"row": f"{number}.png", "detail": "cannot be read"} for number in range(30)],
}


@pytest.fixture
def run(monkeypatch):
    monkeypatch.delenv("HOWSURE_URL", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    return lambda there, *arguments: CliRunner().invoke(app, ["datasets", *map(str, arguments), "--url", there.url])


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "digits.zip"
    path.write_bytes(b"content")
    return path


def test_add_uploads_a_file_and_shows_what_is_in_it(run, scripted, archive):
    there = scripted(READY, HANG_UP, ADDED)
    done = run(there, "add", archive, "--name", "ten digits")
    assert (done.exit_code, done.stdout.split()[0]) == (0, DATASET["id"])
    assert "left out images/3.png: cannot be read" in done.stdout
    assert b"content" in there.asked[-1].body
    assert b"ten digits" in there.asked[-1].body


def test_add_on_the_server_sends_no_data(run, scripted):
    there = scripted(READY, ADDED)
    done = run(there, "add", "photos/2024", "--server", "--json")
    assert json.loads(done.stdout) == DATASET
    assert json.loads(there.asked[-1].body) == {"path": "photos/2024"}


def test_add_of_what_is_not_here(run, scripted, tmp_path):
    there = scripted(READY)
    done = run(there, "add", tmp_path / "none.zip")
    assert (done.exit_code, there.asked) == (2, [])
    assert done.stderr.endswith("here; for data on the server add --server\n")


def test_bad_rows_are_named_up_to_a_limit(run, scripted, archive):
    done = run(scripted(READY, (422, {}, REFUSED)), "add", archive)
    assert done.exit_code == 1
    *rows, more, error = done.stderr.splitlines()
    assert rows == [f"{number}.png: cannot be read" for number in range(10)]
    assert (more, error) == ("…", "error: 30 of 60 rows are bad, more than 5% (invalid)")


def test_list_and_show(run, scripted):
    listed = scripted(READY, (200, {}, {"data": [DATASET], "has_more": False}))
    assert DATASET["id"] in run(listed, "list").stdout
    whole = json.loads(run(scripted(READY, (200, {}, {"data": [DATASET], "has_more": False})), "list", "--json").stdout)
    ends = {"first_id": DATASET["id"], "last_id": DATASET["id"]}
    assert whole == {"object": "list", "data": [DATASET], "has_more": False} | ends
    there = scripted(READY, (200, {}, DATASET))
    assert json.loads(run(there, "show", DATASET["id"], "--json").stdout) == DATASET
    assert there.asked[-1].path == f"/v1/datasets/{DATASET['id']}"


def test_remove(run, scripted):
    there = scripted(READY, (204, {}, b""))
    assert run(there, "remove", "ds_1").stdout == "ds_1 is deleted\n"
    assert (there.asked[-1].method, there.asked[-1].path) == ("DELETE", "/v1/datasets/ds_1")
    again = scripted(READY, (204, {}, b""))
    assert json.loads(run(again, "remove", "ds_1", "--json").stdout)["deleted"] is True
