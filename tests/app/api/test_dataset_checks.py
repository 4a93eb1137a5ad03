"""The check of an upload: it has its time for itself, and ends when its caller leaves."""

import asyncio
import threading
import time

import pytest

from tests.fixtures.catalogs import csv_of
from tests.fixtures.dataset_service import FORM, URL, ZIP, part, upload

pytestmark = pytest.mark.anyio


async def test_the_time_of_a_check_begins_with_the_check(data_service):
    client = data_service(dataset_check_seconds=0.5)
    client.app.state.datasets.checks.submit(time.sleep, 1)
    assert (await client.post(URL, **upload(ZIP))).status_code == 201


@pytest.fixture
def leaving():
    """`leaving(app, body)`: (status, seconds until then) of an upload whose client leaves half a second after it."""

    async def leaving(app, body):
        messages, sent = asyncio.Queue(), []
        messages.put_nowait({"type": "http.request", "body": body})
        scope = {"type": "http", "method": "POST", "path": URL, "raw_path": URL.encode(), "query_string": b""}
        scope |= {"headers": [(b"content-type", FORM["Content-Type"].encode())], "http_version": "1.1"}

        async def send(message):
            sent.append(message)

        answering = asyncio.create_task(app(scope, messages.get, send))
        await asyncio.sleep(0.5)
        assert not sent
        messages.put_nowait({"type": "http.disconnect"})
        left_at = time.monotonic()
        await answering
        return sent[0]["status"], time.monotonic() - left_at

    return leaving


async def test_a_check_ends_when_its_caller_leaves(data_service, tmp_path, leaving):
    app = data_service().app
    body = part("file", csv_of(1, rows=100_000), "o.csv") + b"--b--\r\n"
    status, seconds = await leaving(app, body)
    assert (status, seconds < 1) == (499, True)
    app.state.datasets.checks.submit(int).result(1)
    assert list((tmp_path / "datasets").iterdir()) == [tmp_path / "datasets/.lock"]


async def test_a_check_never_begins_when_its_caller_leaves_before(data_service, tmp_path, leaving):
    app = data_service().app
    free = threading.Event()
    app.state.datasets.checks.submit(free.wait, 10)
    status, seconds = await leaving(app, part("file", ZIP, "set.zip") + b"--b--\r\n")
    assert (status, seconds < 1) == (499, True)
    free.set()
    app.state.datasets.checks.submit(int).result(1)
    assert list((tmp_path / "datasets").iterdir()) == [tmp_path / "datasets/.lock"]
