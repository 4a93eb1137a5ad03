"""Datasets and jobs: what goes to the server, and that a lost reply never does a thing twice."""

import json
import time

import pytest

from app.client import BadRow, HowsureApiError
from tests.fixtures.job_replies import DATASET, JOB, SUCCEEDED
from tests.fixtures.scripted import HANG_UP

IN_USE = {"status": 409, "code": "conflict", "detail": "jobs use it"}
GONE = {"status": 404, "code": "not_found", "detail": "no such dataset"}
DELETED = (204, {}, b"")


def listed(*entries, more=False):
    return 200, {}, {"object": "list", "data": entries, "has_more": more}


def test_an_upload_is_sent_again_from_its_beginning(ask, scripted, tmp_path):
    path = tmp_path / "digits.zip"
    path.write_bytes(b"zip" * 50_000)
    there = scripted(HANG_UP, (200, {}, DATASET))
    found = ask(there.url, "add_dataset", path, name="ten digits")
    assert (found.id, found.bad[0], found.raw) == (DATASET["id"], BadRow("images/3.png", "cannot be read"), DATASET)
    first, second = there.asked
    assert first.path == second.path == "/v1/datasets"
    for asked in there.asked:
        assert b"zip" * 50_000 in asked.body
        assert b'name="file"; filename="digits.zip"' in asked.body
        assert b'name="name"\r\n\r\nten digits' in asked.body


def test_named_bytes_are_a_dataset_too(ask, scripted):
    there = scripted((201, {}, DATASET))
    ask(there.url, "add_dataset", ("table.csv", b"label,logit_0"))
    assert b'filename="table.csv"' in there.asked[0].body
    assert b'name="name"' not in there.asked[0].body


def test_a_missing_file_is_said_before_anything_is_sent(ask, scripted, tmp_path):
    there = scripted((201, {}, DATASET))
    with pytest.raises(FileNotFoundError):
        ask(there.url, "add_dataset", tmp_path / "none.zip")
    assert there.asked == []


def test_an_upload_may_take_longer_than_other_requests(ask, scripted, monkeypatch):
    monkeypatch.setattr("app.client.job_calls.CHECK_SECONDS", 5.0)
    slow = scripted((201, {}, DATASET), delay=0.5)
    assert ask(slow.url, "add_dataset", ("a.csv", b""), client={"timeout": 0.1}).id == DATASET["id"]


def test_data_on_the_server_is_named(ask, scripted):
    there = scripted((201, {}, DATASET))
    ask(there.url, "add_server_data", "photos/2024")
    ask(there.url, "add_server_data", "photos/2024", "holidays")
    bodies = [json.loads(asked.body) for asked in there.asked]
    assert bodies == [{"path": "photos/2024"}, {"path": "photos/2024", "name": "holidays"}]


def test_lists_are_read_to_their_end_with_their_filters(ask, scripted):
    there = scripted(listed(JOB, more=True), listed(SUCCEEDED))
    found = ask(there.url, "jobs", model="m", state="failed")
    assert [(job.state, job.over) for job in found] == [("queued", False), ("succeeded", True)]
    assert [asked.path for asked in there.asked] == [
        "/v1/jobs?limit=100&model=m&state=failed",
        f"/v1/jobs?limit=100&model=m&state=failed&after={JOB['id']}",
    ]
    assert [each.id for each in ask(scripted(listed(DATASET)).url, "datasets")] == [DATASET["id"]]


def test_delete(ask, scripted):
    there = scripted(DELETED)
    assert ask(there.url, "delete_dataset", "ds_1") is None
    assert (there.asked[0].method, there.asked[0].path) == ("DELETE", "/v1/datasets/ds_1")


def test_what_is_gone_after_a_lost_reply_was_deleted(ask, scripted):
    there = scripted(HANG_UP, (503, {"Retry-After": "0"}, GONE), (404, {}, GONE))
    assert ask(there.url, "delete_dataset", "ds_1") is None
    assert len(there.asked) == 3


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ([(404, {}, GONE)], 404),
        ([(503, {"Retry-After": "0"}, GONE), (404, {}, GONE)], 404),
        ([HANG_UP, (409, {}, IN_USE)], 409),
    ],
)
def test_delete_of_what_was_never_there_or_is_in_use(ask, scripted, answers, status):
    with pytest.raises(HowsureApiError) as raised:
        ask(scripted(*answers).url, "delete_dataset", "ds_1")
    assert raised.value.status == status


def test_a_job_whose_reply_was_lost_is_queued_once(ask, scripted):
    there = scripted(HANG_UP, (202, {}, JOB))
    job = ask(there.url, "submit", "calibrate", "m", "ds_1", {"method": "auto"})
    assert (job.id, job.raw) == (JOB["id"], JOB)
    first, second = there.asked
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert json.loads(second.body) == {
        "type": "calibrate",
        "model": "m",
        "dataset": "ds_1",
        "params": {"method": "auto"},
    }


def test_two_jobs_have_two_keys_unless_the_caller_says_otherwise(ask, scripted):
    there = scripted((202, {}, JOB))
    for options in ({}, {}, {"idempotency_key": "mine", "priority": 3}):
        ask(there.url, "submit", "evaluate", "m", "ds_1", **options)
    keys = [asked.headers["idempotency-key"] for asked in there.asked]
    assert len({*keys}) == 3
    assert keys[2] == "mine"
    assert json.loads(there.asked[2].body)["priority"] == 3


def test_cancel_is_sent_again(ask, scripted):
    there = scripted(HANG_UP, (200, {}, JOB | {"state": "cancelling"}))
    assert ask(there.url, "cancel", "job_1").state == "cancelling"
    assert [(asked.method, asked.path) for asked in there.asked] == 2 * [("POST", "/v1/jobs/job_1/cancel")]


def test_one_job_and_its_log(ask, scripted):
    there = scripted((200, {}, SUCCEEDED), (200, {"Content-Type": "text/plain; charset=utf-8"}, b"info: a\ninfo: b\n"))
    assert ask(there.url, "job", "a/b").result["version"] == 2
    assert ask(there.url, "log", "job_1") == "info: a\ninfo: b\n"
    assert [asked.path for asked in there.asked] == ["/v1/jobs/a%2Fb", "/v1/jobs/job_1/log"]


def test_a_page_is_not_taken_for_a_log(ask, scripted):
    there = scripted((200, {"Content-Type": "text/html"}, b"<html>"))
    with pytest.raises(HowsureApiError, match="not as a howsure server does"):
        ask(there.url, "log", "job_1")


def test_wait_returns_the_job_once_it_is_over(ask, scripted, monkeypatch):
    for module in ("blocking", "asynchronous"):
        monkeypatch.setattr(f"app.client.{module}.POLL_SECONDS", 0.02)
    there = scripted((200, {}, JOB), (200, {}, JOB | {"state": "running"}), (200, {}, SUCCEEDED))
    assert ask(there.url, "wait", "job_1").state == "succeeded"
    assert len(there.asked) == 3


def test_wait_no_longer_than_asked(ask, scripted):
    started = time.monotonic()
    with pytest.raises(TimeoutError, match=r"is queued after 0\.2 s"):
        ask(scripted((200, {}, JOB)).url, "wait", "job_1", timeout=0.2)
    assert 0.2 <= time.monotonic() - started < 2
