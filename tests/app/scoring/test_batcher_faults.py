"""Every caller gets an answer when the model's thread fails or dies, a caller leaves, or the batcher closes."""

import asyncio
import threading
import time

import pytest

from app.errors import HowsureError, ImageRefusedError, InternalError, NotReadyError
from models.core.image import ImageError, Refusal
from tests.fixtures.batching import ask

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "run",
    [lambda works: 1 / 0, lambda works: works[:-1], lambda works: [*works, "one too many"], lambda works: None],
    ids=["raises", "too few", "too many", "no list"],
)
async def test_every_caller_hears_of_a_failing_run(start_batcher, caplog, run):
    batcher = start_batcher(run)
    outcomes = await asyncio.wait_for(ask(batcher, 1, 2, 3), 5)
    assert [type(outcome) for outcome in outcomes] == [InternalError] * 3
    assert batcher.alive
    assert "item_failed" in {record.event for record in caplog.records}


async def test_error_for_the_caller_keeps_its_kind(start_batcher):
    def run(works):
        raise ImageRefusedError(ImageError(Refusal.DAMAGED, "no"))

    (outcome,) = await ask(start_batcher(run), 1)
    assert (outcome.status, outcome.code) == (422, "image_damaged")


async def test_poison_item_spoils_no_other(start_batcher, caplog):
    def run(works):
        if "poison" in works:
            raise ValueError
        return [f"{work} done" for work in works]

    outcomes = await ask(start_batcher(run), "a", "poison", "b", "c")
    assert outcomes[0::2] == ["a done", "b done"]
    assert outcomes[3] == "c done"
    assert isinstance(outcomes[1], InternalError)


@pytest.mark.parametrize("threads", [1, 3])
async def test_a_dead_thread_answers_everyone_and_refuses_the_rest(start_batcher, caplog, threads):
    busy = threading.Event()
    go = threading.Event()

    def run(works):
        busy.set()
        go.wait(5)
        raise SystemExit("gone")

    batcher = start_batcher(run, max_batch=2, threads=threads)
    with batcher.reserve(1) as unprepared:
        callers = [asyncio.create_task(ask(batcher, number)) for number in range(5)]
        await asyncio.to_thread(busy.wait, 5)
        go.set()
        answers = await asyncio.wait_for(asyncio.gather(*callers), 5)
        assert {type(answer) for (answer,) in answers} == {InternalError}
        with pytest.raises(InternalError, match="restarted"):
            await asyncio.wait_for(unprepared.submit("late"), 5)
    with pytest.raises(NotReadyError, match="died"):
        await ask(batcher, "later")
    assert not batcher.alive
    assert "model_thread_died" in {record.event for record in caplog.records}


async def test_no_item_is_lost_in_the_moment_the_thread_dies(start_batcher, caplog):
    """Callers hand over without pause while the thread goes down."""

    def run(works):
        raise SystemExit

    batcher = start_batcher(run)
    lost = 0
    for _ in range(200):
        try:
            with batcher.reserve(1) as room:
                await asyncio.wait_for(room.submit(1), 2)
        except TimeoutError:
            lost += 1
        except HowsureError:
            pass
    assert lost == 0


async def test_cancelled_items_are_dropped_without_running(start_batcher):
    free = threading.Event()
    ran = []
    batcher = start_batcher(lambda works: ran.extend(works) or (free.wait(5) and works))
    first = asyncio.create_task(ask(batcher, "first"))
    await asyncio.sleep(0.05)
    gone = asyncio.create_task(ask(batcher, "gone", "gone too"))
    stays = asyncio.create_task(ask(batcher, "stays"))
    await asyncio.sleep(0.05)
    gone.cancel()
    await asyncio.sleep(0)
    free.set()
    assert await first == ["first"]
    assert await stays == ["stays"]
    assert ran == ["first", "stays"]
    assert batcher.admitted == 0


async def test_cancelled_while_running_disturbs_nobody(start_batcher):
    free = threading.Event()
    batcher = start_batcher(lambda works: free.wait(5) and works)
    with batcher.reserve(2) as room:
        gone, stays = room.submit("gone"), room.submit("stays")
        await asyncio.sleep(0.05)
        gone.cancel()
        free.set()
        assert await stays == "stays"
    assert await ask(batcher, "next") == ["next"]


@pytest.mark.parametrize("threads", [1, 3])
async def test_close_finishes_queued_work_and_refuses_new(start_batcher, threads):
    free = threading.Event()
    batcher = start_batcher(lambda works: free.wait(5) and works, max_batch=1, threads=threads)
    queued = asyncio.create_task(ask(batcher, 1, 2, 3))
    await asyncio.sleep(0.05)
    with batcher.reserve(1) as prepared_late:
        closing = asyncio.create_task(batcher.close(5))
        await asyncio.sleep(0.05)
        with pytest.raises(NotReadyError, match="shutting down"):
            await ask(batcher, "new")
        free.set()
        assert await queued == [1, 2, 3]
        assert await prepared_late.submit("late") == "late"
    await closing
    assert not batcher.alive


@pytest.mark.parametrize("threads", [1, 2, 4])
async def test_close_with_a_stuck_run_answers_everyone_after_the_timeout(start_batcher, threads):
    free = threading.Event()
    batcher = start_batcher(lambda works: free.wait(10) and works, max_batch=2, threads=threads)
    callers = asyncio.create_task(ask(batcher, *range(5)))
    await asyncio.sleep(0.05)
    with batcher.reserve(1) as unprepared:
        started = time.perf_counter()
        await batcher.close(0.2)
        assert time.perf_counter() - started < 2
        outcomes = await asyncio.wait_for(callers, 2)
        with pytest.raises(NotReadyError):
            await asyncio.wait_for(unprepared.submit("late"), 2)
    assert [type(outcome) for outcome in outcomes] == [NotReadyError] * 5
    free.set()


async def test_a_closed_event_loop_does_not_stop_the_thread(start_batcher):
    free = threading.Event()
    batcher = start_batcher(lambda works: free.wait(5) and works)

    async def leave():
        with batcher.reserve(1) as room:
            room.submit("abandoned")
            await asyncio.sleep(0.05)

    await asyncio.to_thread(asyncio.run, leave())
    free.set()
    assert await ask(batcher, "here") == ["here"]
