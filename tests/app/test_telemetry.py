"""Request ids, log lines and metrics."""

import json
import logging

import pytest

from app.telemetry import JsonFormatter, Metrics, RequestTelemetry, request_id_now

SCOPE = {"type": "http", "method": "GET", "path": "/x", "headers": []}


@pytest.fixture
def line():
    """`line(message, **extra)`: the parsed log line."""

    def line(message, *args, exc_info=None, **extra):
        record = logging.getLogger("howsure.test").makeRecord(
            "howsure.test", logging.INFO, "file", 1, message, args, exc_info, extra=extra
        )
        text = JsonFormatter().format(record)
        assert "\n" not in text
        return json.loads(text)

    return line


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def call():
    """`await call(headers, status)`: headers of an answer that came through the middleware."""

    async def call(metrics, headers=(), status=200):
        sent = []

        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": status, "headers": [(b"x-own", b"kept")]})
            await send({"type": "http.response.body", "body": b""})

        async def send(message):
            sent.append(message)

        await RequestTelemetry(app, metrics)({**SCOPE, "headers": list(headers)}, None, send)
        return dict(sent[0]["headers"])

    return call


def test_a_log_line_has_message_event_and_fields(line):
    found = line("%s done", "it", event="test", count=3)
    assert found["message"] == "it done"
    assert (found["event"], found["count"], found["level"], found["logger"]) == ("test", 3, "info", "howsure.test")
    assert "request_id" not in found


def test_a_log_line_is_one_line_whatever_the_message(line):
    assert line("a\nb\r\u2028\x00 {}", odd=object())["message"] == "a\nb\r\u2028\x00 {}"


def test_a_log_line_carries_the_request_id(line):
    token = request_id_now.set("req-1")
    try:
        assert line("x")["request_id"] == "req-1"
    finally:
        request_id_now.reset(token)


def test_a_traceback_is_a_field(line):
    try:
        raise ValueError("why")
    except ValueError as error:
        found = line("failed", exc_info=(type(error), error, error.__traceback__))
    assert found["traceback"].endswith("ValueError: why")


@pytest.mark.anyio
@pytest.mark.parametrize("given", [b"abc-123", b"a" * 128, b"trace:01/02+x=.y"])
async def test_a_usable_request_id_is_taken_over(call, given):
    assert (await call(Metrics(), [(b"x-request-id", given)]))[b"x-request-id"] == given


@pytest.mark.anyio
@pytest.mark.parametrize("given", [b"", b"a" * 129, b"a b", b"a\nb", b'"quoted"', "ä".encode(), b"{}", b"\xff"])
async def test_any_other_request_id_is_replaced(call, given):
    found = (await call(Metrics(), [(b"x-request-id", given)]))[b"x-request-id"]
    assert len(found) == 32
    assert found.isalnum()


@pytest.mark.anyio
async def test_headers_of_the_answer_are_kept_and_the_total_time_added(call):
    headers = await call(Metrics())
    assert headers[b"x-own"] == b"kept"
    assert headers[b"server-timing"].startswith(b"total;dur=")


@pytest.mark.anyio
async def test_requests_are_counted_and_refused_ones_apart(call):
    metrics = Metrics()
    for status in (200, 200, 429):
        await call(metrics, status=status)
    count = metrics.registry.get_sample_value
    labels = {"route": "unmatched", "method": "GET"}
    assert count("howsure_requests_total", {**labels, "status": "200"}) == 2
    assert count("howsure_requests_total", {**labels, "status": "429"}) == 1
    assert count("howsure_rejected_total") == 1
    assert count("howsure_request_duration_seconds_count", {"route": "unmatched"}) == 3


@pytest.mark.anyio
async def test_a_request_that_breaks_counts_as_500(call):
    metrics = Metrics()

    async def broken(scope, receive, send):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await RequestTelemetry(broken, metrics)(dict(SCOPE), None, None)
    labels = {"route": "unmatched", "method": "GET", "status": "500"}
    assert metrics.registry.get_sample_value("howsure_requests_total", labels) == 1


@pytest.mark.anyio
async def test_other_protocols_pass_untouched():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope)

    await RequestTelemetry(app, Metrics())({"type": "lifespan"}, None, None)
    assert seen == [{"type": "lifespan"}]


def test_several_servers_fit_into_one_process():
    Metrics().requests.labels("/x", "GET", 200).inc()
    assert Metrics().registry.get_sample_value("howsure_requests_total") is None
