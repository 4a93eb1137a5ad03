"""Starting: the address, readiness while loading, and when the server refuses to run."""

import shutil
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from app.server import bind
from app.settings import Settings
from tests.fixtures.server import launch

MODEL = "efficientnet-lite0"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_port_zero_gives_a_free_port(host):
    with bind(Settings(host=host, port=0)) as listener:
        assert listener.getsockname()[1] > 0


def test_a_taken_port_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        bind(Settings(port=taken.getsockname()[1]))


def test_alive_at_once_and_ready_when_loaded(server, start_server, photo):
    server = start_server(wait=False, HOWSURE_UNREADY_SECONDS=1)
    statuses = []
    deadline = time.monotonic() + 90
    while (not statuses or statuses[-1] != 200) and time.monotonic() < deadline:
        try:
            assert httpx.get(f"{server.url}/livez").status_code == 200
            ready = httpx.get(f"{server.url}/readyz")
        except httpx.TransportError:
            assert not statuses, "the server went away after its first answer"
            time.sleep(0.02)
            continue
        if not statuses:
            assert ready.json()["reasons"] == ["models are loading"]
            headers = {"Content-Type": "image/jpeg"}
            early = httpx.post(f"{server.url}/v1/images/score", content=photo, headers=headers)
            assert (early.status_code, early.json()["code"]) == (503, "not_ready")
            assert int(early.headers["retry-after"]) >= 1
            card = httpx.get(f"{server.url}/v1/models/{MODEL}").json()
            assert (card["status"], card["reason"]) == ("loading", None)
        statuses.append(ready.status_code)
    assert set(statuses) == {503, 200}
    assert statuses == sorted(statuses, reverse=True)

    # The unready time after SIGTERM ends by itself.
    started = time.monotonic()
    assert server.stop() == 0
    assert 0.9 < time.monotonic() - started < 10


def test_sigterm_while_loading_ends_the_server_cleanly(start_server):
    server = start_server(wait=False)
    while server.process.poll() is None:
        try:
            assert httpx.get(f"{server.url}/readyz").status_code == 503
            break
        except httpx.TransportError:
            time.sleep(0.02)
    assert server.stop() == 0


def test_no_usable_model_ends_the_server_with_the_reason(tmp_path, server, session_store):
    store = tmp_path / "store"
    shutil.copytree(session_store, store)
    for methods in store.glob("*/versions/1/methods.safetensors"):
        methods.write_bytes(methods.read_bytes()[:-1] + b"\x01")
    broken = launch(tmp_path / "log", HOWSURE_STORE=store)
    assert broken.process.wait(90) != 0
    last = broken.log.read_text().splitlines()[-1]
    assert "no model could be loaded" in last
    assert "the file was changed or damaged" in last


def test_an_open_address_without_keys_is_refused(tmp_path):
    refused = launch(tmp_path / "log", HOWSURE_HOST="0.0.0.0", HOWSURE_STORE=tmp_path / "store")
    assert refused.process.wait(60) != 0
    assert "refusing to bind 0.0.0.0 without API keys" in refused.log.read_text()
    assert not (tmp_path / "store").exists()


def test_an_answer_that_takes_longer_than_the_drain_time_gets_an_error(start_server, language_store):
    settings = {"HOWSURE_STORE": language_store.root, "HOWSURE_SHIPPED": "", "HOWSURE_DRAIN_SECONDS": 3}
    # Room for one answer at a time, so that the last of them is far from whole.
    server = start_server(**settings, HOWSURE_CACHED_TOKENS=256, HOWSURE_QUEUE_ITEMS=1000)
    asked = {"model": "tiny-language", "prompt": ["The sea is"] * 200, "max_tokens": 240, "temperature": 1}
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(httpx.post, f"{server.url}/v1/completions", json=asked, timeout=60)
        deadline = time.monotonic() + 20
        while "howsure_queue_items 0.0" in httpx.get(f"{server.url}/metrics").text and time.monotonic() < deadline:
            time.sleep(0.05)
        assert server.stop() == 0
        told = answer.result()
    assert told.status_code == 503
    assert "shut down before this answer was whole" in told.json()["error"]["message"]
