"""Following a job over connections that are lost and servers that come and go, with both clients."""

import time

import httpx
import pytest

from app.client import HowsureApiError, HowsureConnectionError, JobEvent
from app.client.events import Following
from tests.fixtures.job_replies import event, stream
from tests.fixtures.scripted import HANG_UP
from tests.fixtures.server import free_port

BUSY = {"status": 503, "code": "not_ready", "detail": "the jobs database does not answer"}
GONE = {"status": 404, "code": "not_found", "detail": "no job 'job_1'"}
RUNNING = event(1, "state", state="running")
HALF = event(2, "progress", progress=0.5, message="half")
DONE = event(3, "state", state="succeeded")


def test_events_until_the_job_is_over(ask, scripted):
    there = scripted(stream(RUNNING, HALF, DONE))
    found = ask(there.url, "watch", "job_1")
    assert found[1] == JobEvent(2, "progress", 1_700_000_002.0, {"progress": 0.5, "message": "half"})
    assert [each.number for each in found] == [1, 2, 3]
    assert [asked.path for asked in there.asked] == ["/v1/jobs/job_1/events"]


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_each_final_state_ends_it(ask, scripted, state):
    assert len(ask(scripted(stream(event(1, "state", state=state))).url, "watch", "j")) == 1


@pytest.mark.parametrize("lost", [HANG_UP, (503, {"Retry-After": "0"}, BUSY), stream(), stream(cut=True)])
def test_goes_on_after_the_last_event_that_arrived(ask, scripted, lost):
    there = scripted(stream(RUNNING, HALF, cut=True), lost, stream(DONE))
    assert [each.number for each in ask(there.url, "watch", "job_1")] == [1, 2, 3]
    assert [asked.headers["last-event-id"] for asked in there.asked] == ["0", "2", "2"]


def test_a_stream_that_ends_before_the_job_is_opened_again(ask, scripted):
    there = scripted(stream(RUNNING), stream(HALF), stream(DONE))
    assert [each.number for each in ask(there.url, "watch", "job_1")] == [1, 2, 3]


def test_events_behind_the_final_one_are_not_lost_with_the_connection(ask, scripted):
    there = scripted(stream(RUNNING, DONE, cut=True), stream(event(4, "log", level="info", text="bye")))
    assert [each.number for each in ask(there.url, "watch", "job_1")] == [1, 3, 4]


@pytest.mark.parametrize("cut_at", [b"half", b"\r\n: ping\r\n\r\n"])
def test_half_an_event_is_none(ask, scripted, cut_at):
    status, headers, whole = stream(RUNNING, HALF)
    torn = (status, headers | {"Content-Length": str(len(whole))}, whole[: whole.rindex(cut_at)])
    _, _, rest = stream(HALF, DONE)
    there = scripted(torn, (status, headers, b": ping\r\n\r\n" + rest))
    assert [each.number for each in ask(there.url, "watch", "job_1")] == [1, 2, 3]


def test_silence_is_a_lost_connection():
    silence = httpx.ReadTimeout("silent", request=httpx.Request("GET", "http://127.0.0.1:8000/v1/jobs/job_1/events"))
    assert 0 < Following("job_1", 1).end(silence) <= 0.25
    with pytest.raises(HowsureConnectionError, match="no reply"):
        Following("job_1", 0).end(silence)


def test_an_unknown_job_is_an_error_at_once(ask, scripted):
    there = scripted((404, {}, GONE))
    with pytest.raises(HowsureApiError, match="no job 'job_1'"):
        ask(there.url, "watch", "job_1")
    assert len(there.asked) == 1


def test_a_server_that_stays_away_is_given_up(ask):
    started = time.monotonic()
    with pytest.raises(HowsureConnectionError, match="nothing answers"):
        ask(f"http://127.0.0.1:{free_port()}", "watch", "job_1", client={"retry_seconds": 0.4})
    assert 0.1 < time.monotonic() - started < 2


@pytest.mark.parametrize(
    "other",
    [
        (200, {"Content-Type": "text/html"}, b"<html>"),
        (200, {"Content-Type": "text/event-stream"}, b"id: 1\ndata: none\n\n"),
        (200, {"Content-Type": "text/event-stream"}, b'data: {"at": 1}\n\n'),
        (502, {}, b"Bad gateway"),
    ],
)
def test_something_else_is_named_as_such(ask, scripted, other):
    with pytest.raises(HowsureConnectionError) as raised:
        ask(scripted(other).url, "watch", "job_1")
    assert raised.value.code == "not_howsure"


def test_time_in_contact_does_not_count_against_the_time_to_get_back(ask, scripted):
    """Only the tries in a row do: here the pauses of four losses are together longer than the limit."""
    lost = [HANG_UP, stream(RUNNING, cut=True)]
    there = scripted(*lost, *lost, *lost, *lost, stream(DONE))
    found = ask(there.url, "watch", "job_1", client={"retry_seconds": 1.2})
    assert found[-1].number == 3


def test_the_request_has_a_longer_patience_than_the_pings_are_apart():
    assert Following("job_1", 0).request().patience > 2 * 15
