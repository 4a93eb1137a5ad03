"""What health and metrics show: never long in coming, and asked for once at a time."""

import asyncio
import threading
import time

import pytest

from app.errors import NotReadyError
from app.jobs import glance as module
from app.jobs.desk import JobDesk
from app.jobs.glance import Glance, JobsSeen
from tests.fixtures.new_jobs import new_job

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def glance_at():
    made = []

    def glance_at(desk):
        made.append(Glance(desk, 10))
        return made[-1]

    yield glance_at
    for glance in made:
        glance.close()


async def test_counts_and_workers(glance_at, tmp_path):
    desk = JobDesk(f"sqlite:///{tmp_path}/jobs.db")
    glance = glance_at(desk)
    desk.counts()  # opening takes longer than a glance may
    assert await glance.look() == JobsSeen({}, 0)
    desk.submit(new_job())
    assert await glance.look() == JobsSeen({"queued": 1}, 0)
    desk.close()


@pytest.mark.parametrize("url", ["postgresql://someone:hunter2@127.0.0.1:1/howsure", "sqlite:////dev/null/jobs.db"])
async def test_a_database_that_is_away(glance_at, url):
    desk = JobDesk(url)
    glance = glance_at(desk)
    with pytest.raises(NotReadyError):
        desk.counts()
    assert await glance.look() is None


async def test_a_database_that_hangs(glance_at, monkeypatch):
    class Hanging:
        def __init__(self):
            self.asked, self.back = 0, threading.Event()

        def counts(self):
            self.asked += 1
            self.back.wait(10)
            return {"failed": 2}

        def workers_alive(self, _):
            return 1

    monkeypatch.setattr(module, "LONGEST_WAIT_SECONDS", 0.1)
    desk = Hanging()
    glance = glance_at(desk)
    started = time.monotonic()
    assert await asyncio.gather(*(glance.look() for _ in range(20))) == [None] * 20
    assert time.monotonic() - started < 2
    assert desk.asked == 1
    desk.back.set()
    assert await glance.look() == JobsSeen({"failed": 2}, 1)
