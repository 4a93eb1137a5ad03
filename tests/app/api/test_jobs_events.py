"""Events and log of a job: in order, from any event on, to the job's end, through an outage."""

import asyncio
import json
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from app.api.jobs import POLL_SECONDS
from tests.fixtures.problems import check_problem

pytestmark = pytest.mark.anyio
URL = "/v1/jobs"


def events_of(response):
    """(id, event, data) of each server-sent event; comments are left out."""
    found = []
    for block in response.text.replace("\r\n", "\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


async def test_events_in_order_and_ended(finished):
    client, job = finished
    response = await client.get(f"{URL}/{job}/events")
    assert response.headers["content-type"].startswith("text/event-stream")
    events = events_of(response)
    kinds = ["state", "state", "progress", "metrics", "log", "log", "state"]
    assert [kind for _, kind, _ in events] == kinds
    numbers = [number for number, _, _ in events]
    assert numbers == sorted(set(numbers))
    assert events[0][2]["state"] == "queued"
    assert events[2][2] | {"at": 0} == {"at": 0, "progress": 0.5, "message": "fitting"}
    assert events[-1][2]["state"] == "succeeded"
    for place, number in enumerate(numbers):
        rest = await client.get(f"{URL}/{job}/events", headers={"Last-Event-ID": str(number)})
        assert events_of(rest) == events[place + 1 :]


async def test_more_events_than_a_page(service, request_for, ledger):
    client = service()
    job = (await client.post(URL, json=request_for())).json()["id"]
    for number in range(520):
        ledger.log(job, str(number))
    ledger.request_cancel(job)
    events = events_of(await client.get(f"{URL}/{job}/events"))
    assert [data["text"] for _, kind, data in events if kind == "log"] == [str(number) for number in range(520)]
    assert events[-1][2]["state"] == "cancelled"
    assert (await client.get(f"{URL}/{job}/log")).text.count("\n") == 520


@pytest.mark.parametrize("wrong", ["-1", "x", str(2**63), "1.5"])
async def test_last_event_ids_that_are_none(finished, wrong):
    client, job = finished
    check_problem(await client.get(f"{URL}/{job}/events", headers={"Last-Event-ID": wrong}), 422)


async def test_events_follow_a_job_to_its_end(service, request_for, ledger):
    client = service()
    job = (await client.post(URL, json=request_for())).json()["id"]
    following = asyncio.create_task(client.get(f"{URL}/{job}/events"))
    for state in range(4):
        await asyncio.sleep(0.1)
        await asyncio.to_thread(ledger.log, job, str(state))
    await asyncio.to_thread(ledger.request_cancel, job)
    events = events_of(await asyncio.wait_for(following, 10))
    assert [data.get("text", data.get("state")) for _, _, data in events] == ["queued", *"0123", "cancelled"]


async def test_a_draining_server_ends_the_stream(service, request_for):
    client = service()
    job = (await client.post(URL, json=request_for())).json()["id"]
    following = asyncio.create_task(client.get(f"{URL}/{job}/events"))
    await asyncio.sleep(0.3)
    assert not following.done()
    client.app.state.draining = True
    assert len(events_of(await asyncio.wait_for(following, 5))) == 1


async def test_a_stream_outlives_an_outage_of_the_database(service, request_for, ledger, store):
    client = service()
    job = (await client.post(URL, json=request_for())).json()["id"]
    following = asyncio.create_task(client.get(f"{URL}/{job}/events"))
    await asyncio.sleep(0.2)
    jobs = store.root.parent / "jobs"
    client.app.state.desk._opened.ledger.engine.dispose()
    ledger.engine.dispose()
    away = jobs.rename(jobs.with_name("away"))
    await asyncio.sleep(1.2)
    assert not following.done()
    if jobs.exists():
        shutil.rmtree(jobs)
    away.rename(jobs)
    await asyncio.to_thread(ledger.request_cancel, job)
    events = events_of(await asyncio.wait_for(following, 10))
    assert [data["state"] for _, _, data in events] == ["queued", "cancelled"]


async def test_a_stream_over_a_database_that_hangs_leaves_the_loop_its_threads(service, request_for, ledger):
    client = service()
    job = (await client.post(URL, json=request_for())).json()["id"]
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    following = asyncio.create_task(client.get(f"{URL}/{job}/events"))
    with closing(sqlite3.connect(ledger.engine.url.database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        await asyncio.sleep(2 * POLL_SECONDS)
        await asyncio.wait_for(asyncio.to_thread(int), 2)
        assert not following.done()
    await asyncio.to_thread(ledger.request_cancel, job)
    assert events_of(await asyncio.wait_for(following, 10))[-1][2]["state"] == "cancelled"


async def test_log(finished):
    client, job = finished
    response = await client.get(f"{URL}/{job}/log")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.text == "info: two\nlines\nerror: bad\n"
