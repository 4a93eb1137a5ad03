"""SIGTERM: what is in flight is answered, the exit status is 0, and load balancers get time to notice."""

import re
import signal
import time
from contextlib import ExitStack, closing

import httpx

from tests.fixtures.images import image_file
from tests.fixtures.wire import connect, read_response, score_request


def test_requests_in_flight_are_answered(start_server):
    server = start_server()
    images = [image_file(seed, size=(800, 800)) for seed in range(4)]
    with ExitStack() as stack:
        connections = [stack.enter_context(closing(connect(server))) for _ in range(30)]
        for connection in connections:
            connection.sendall(score_request(images))
        wait_until_received(server, items=120)
        server.process.send_signal(signal.SIGTERM)
        responses = [read_response(connection) for connection in connections]
    assert [response.status for response in responses] == [200] * 30
    assert {response.body.count(b'"label"') // (5 + 1) for response in responses} == {4}
    assert server.process.wait(30) == 0


def wait_until_received(server, items):
    """Until so many items are in the house or already answered: a request that was not read yet is not in flight."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        text = httpx.get(f"{server.url}/metrics").text
        found = re.findall(r"^howsure_(?:queue_items|items_total{.*}) ([\d.e+]+)$", text, re.MULTILINE)
        if sum(map(float, found)) >= items:
            return
        time.sleep(0.05)
    raise AssertionError(f"{items} items were not received in 20 s")


def test_not_ready_but_serving_until_a_second_signal(start_server, photo):
    server = start_server(HOWSURE_UNREADY_SECONDS=120)
    server.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 5
    while (ready := httpx.get(f"{server.url}/readyz")).status_code == 200 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (ready.status_code, ready.json()["reasons"]) == (503, ["shutting down"])
    assert httpx.get(f"{server.url}/livez").status_code == 200
    answer = httpx.post(f"{server.url}/v1/images/score", content=photo, headers={"Content-Type": "image/jpeg"})
    assert answer.status_code == 200
    started = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    assert time.monotonic() - started < 10
