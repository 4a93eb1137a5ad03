"""The load generator against a tiny server: counts, latencies, refusals, and no target but this machine."""

import itertools
import socketserver
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.benchmarks.load import Run, Target, multipart, percentile_ms

BODY = b"x" * 5_000_000  # more than fits into a socket buffer at once


class TinyServer(socketserver.ThreadingTCPServer):
    """Answers every third request with 429, before it has read the body; every other one with 200."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), TinyHandler)
        self.numbers = itertools.count(1)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/score?top_k=1"


class TinyHandler(socketserver.StreamRequestHandler):
    server: TinyServer

    def handle(self) -> None:
        with suppress(ConnectionError):
            while (length := self._content_length()) is not None:
                refused = next(self.server.numbers) % 3 == 0
                if refused:
                    self.wfile.write(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 4\r\n\r\nbusy")
                if len(self.rfile.read(length)) < length:
                    return
                if not refused:
                    self.wfile.write(b'HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\n{"confidence": 0.9}')

    def _content_length(self) -> int | None:
        length = None
        while line := self.rfile.readline().strip().lower():
            name, _, value = line.partition(b":")
            length = int(value) if name == b"content-length" else length
        return length


@pytest.fixture
def server() -> Iterator[TinyServer]:
    with TinyServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_counts_every_reply_by_status(server: TinyServer) -> None:
    result = Run(Target.build(server.url, BODY, "image/jpeg"), 4, ["confidence"]).run(0.5, warmup=0.1)
    assert set(result.statuses) == {"200", "429"}
    assert result.statuses["200"] == pytest.approx(2 * result.statuses["429"], rel=0.2, abs=6)
    assert (result.failures, result.wrong) == ({}, 0)
    assert result.requests_per_second == pytest.approx(result.statuses["200"] / 0.5)
    assert 0 < (result.p50_ms or 0) <= (result.p99_ms or 0)


def test_reports_replies_that_lack_a_word(server: TinyServer) -> None:
    result = Run(Target.build(server.url, b"x", "image/jpeg"), 1, ["uncertainty"]).run(0.2)
    assert result.wrong == result.statuses["200"] > 0


def test_a_client_that_was_refused_may_rest(server: TinyServer) -> None:
    result = Run(Target.build(server.url, b"x", "image/jpeg"), 1, pause=0.2).run(0.5)
    assert 1 <= result.statuses["429"] <= 3


def test_a_server_that_is_gone_is_a_failure_and_no_hang() -> None:
    with TinyServer() as server:
        target = Target.build(server.url, b"x", "image/jpeg")
    result = Run(target, 2).run(0.3)
    assert result.statuses == {}
    assert 0 < sum(result.failures.values()) < 50
    assert result.p50_ms is None


@pytest.mark.parametrize("address", ["http://192.0.2.1/", "https://127.0.0.1/", "ftp://localhost/", "127.0.0.1:80"])
def test_refuses_what_is_not_http_on_loopback(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        Target.build(address, b"", "image/jpeg")


def test_multipart_holds_the_file() -> None:
    body, content_type = multipart(b"pixels", "cat.jpg")
    boundary = content_type.partition("boundary=")[2].encode()
    assert body.count(boundary) == 2
    assert b'name="files"; filename="cat.jpg"' in body
    assert b"\r\n\r\npixels\r\n" in body


def test_percentiles_are_nearest_rank() -> None:
    assert percentile_ms([0.004, 0.001, 0.002, 0.003], 0.5) == 2.0
    assert percentile_ms([0.001] * 98 + [1.0] * 2, 0.99) == 1000.0
    assert percentile_ms([0.001] * 99 + [1.0], 0.99) == 1.0
    assert percentile_ms([], 0.5) is None
