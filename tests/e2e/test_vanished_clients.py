"""Clients that hang up: their work is dropped, nobody else notices."""

import time

import httpx
import pytest

from tests.fixtures.images import image_file
from tests.fixtures.metrics import read_metrics
from tests.fixtures.wire import connect, head, multipart, score_request

URL = "/v1/images/score"


@pytest.fixture
def gone_since(server):
    """`gone_since(before)`: requests of clients that hung up, by the server's count."""

    def gone_since(before):
        labels = (("method", "POST"), ("route", URL), ("status", "499"))
        return read_metrics(server.url).get(("howsure_requests_total", labels), 0) - before.get(
            ("howsure_requests_total", labels), 0
        )

    return gone_since


def test_work_of_clients_that_left_is_dropped(server, photo, gone_since):
    before = read_metrics(server.url)
    request = score_request([image_file(seed, size=(1200, 1200)) for seed in range(4)])
    connections = [connect(server) for _ in range(25)]
    for connection in connections:
        connection.sendall(request)
    time.sleep(0.1)
    for connection in connections:
        connection.close()
    deadline = time.monotonic() + 30
    while (after := read_metrics(server.url))["howsure_queue_items", ()] and time.monotonic() < deadline:
        time.sleep(0.05)
    ran = after["howsure_batch_size_sum", ()] - before["howsure_batch_size_sum", ()]
    assert gone_since(before) >= 20
    assert ran < 60, f"{ran} of 100 items ran although nobody waited"
    answer = httpx.post(server.url + URL, content=photo, headers={"Content-Type": "image/jpeg"}, timeout=30)
    assert answer.status_code == 200


def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_fault_of_ours(server, gone_since):
    before = read_metrics(server.url)
    written = server.log.stat().st_size
    form, body = multipart([b"x" * 1000])
    for content_type, start in (("image/jpeg", b"\xff\xd8"), ("application/json", b"{"), (form, body[:500])):
        with connect(server) as connection:
            connection.sendall(head("POST", URL, content_type=content_type, content_length=5000) + start)
            time.sleep(0.1)
    deadline = time.monotonic() + 10
    while gone_since(before) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert gone_since(before) == 3
    with server.log.open() as log:
        log.seek(written)
        assert '"level": "error"' not in log.read()


@pytest.mark.parametrize("sent", [b"", b"GET /livez", b"GET /livez HTTP/1.1\r\nHost: x\r\n", b"\x16\x03\x01", b"\r\n"])
def test_a_client_that_leaves_before_its_request_is_whole(server, sent):
    with connect(server) as connection:
        connection.sendall(sent)
    assert httpx.get(f"{server.url}/readyz").status_code == 200
