"""Batches: what is run together, in which order, and how long an item waits for company."""

import asyncio
import threading
import time
from contextlib import suppress

import pytest

from tests.fixtures.batching import ask

pytestmark = pytest.mark.anyio


async def test_answers_come_in_order_and_in_one_batch(start_batcher):
    sizes = []
    batcher = start_batcher(lambda works: sizes.append(len(works)) or [work * 10 for work in works])
    assert await ask(batcher, 1, 2, 3) == [10, 20, 30]
    assert sizes == [3]


async def test_batches_hold_at_most_max_batch_items(start_batcher):
    sizes = []
    batcher = start_batcher(lambda works: sizes.append(len(works)) or works, max_batch=4)
    assert await ask(batcher, *range(11)) == list(range(11))
    assert sizes == [4, 4, 3]


async def test_requests_that_wait_while_the_thread_is_busy_are_batched(start_batcher):
    free = threading.Event()
    batches = []

    def run(works):
        batches.append(list(works))
        free.wait(5)
        return works

    batcher = start_batcher(run)
    first = asyncio.create_task(ask(batcher, "first"))
    await asyncio.sleep(0.05)
    rest = [asyncio.create_task(ask(batcher, number)) for number in range(5)]
    await asyncio.sleep(0.05)
    free.set()
    await asyncio.gather(first, *rest)
    assert batches == [["first"], [0, 1, 2, 3, 4]]


async def test_groups_are_never_mixed_and_keep_their_order(start_batcher):
    batches = []
    batcher = start_batcher(lambda works: batches.append(list(works)) or works, group=lambda work: work[0])
    items = [(name, number) for number in range(5) for name in "ab"]
    assert await ask(batcher, *items) == items
    assert all(len({name for name, _ in batch}) == 1 for batch in batches)
    assert [item for batch in batches for item in batch if item[0] == "a"] == [("a", n) for n in range(5)]
    assert batches[0] == [("a", number) for number in range(5)]


async def test_a_batch_ends_at_the_item_that_does_not_fit_and_the_oldest_always_goes(start_batcher):
    """Items are (group, weight); a light one does not overtake the heavy one before it."""
    batches = []

    def fitting(works):
        return max(1, next((count for count in range(len(works), 0, -1) if sum(w for _, w in works[:count]) <= 10), 0))

    batcher = start_batcher(
        lambda works: batches.append(list(works)) or works, group=lambda work: work[0], fitting=fitting
    )
    items = [("a", 6), ("b", 1), ("a", 50), ("a", 4), ("a", 6), ("a", 1), ("b", 1)]
    assert await ask(batcher, *items) == items
    assert batches == [
        [("a", 6)],
        [("b", 1), ("b", 1)],
        [("a", 50)],
        [("a", 4), ("a", 6)],
        [("a", 1)],
    ]


async def test_threads_work_side_by_side_and_share_what_waits(start_batcher):
    together = threading.Barrier(3, timeout=5)
    sizes = []

    def run(works):
        together.wait()
        sizes.append(len(works))
        return works

    batcher = start_batcher(run, threads=3)
    assert await ask(batcher, *range(9)) == list(range(9))
    assert sizes == [3, 3, 3]


async def test_lone_item_does_not_wait_for_company(start_batcher):
    batcher = start_batcher(lambda works: works, max_wait=5)
    started = time.perf_counter()
    assert await ask(batcher, "alone") == ["alone"]
    assert time.perf_counter() - started < 1


async def test_items_in_preparation_are_waited_for(start_batcher):
    sizes = []
    batcher = start_batcher(lambda works: sizes.append(len(works)) or works, max_wait=5)
    with batcher.reserve(3) as room:
        early = room.submit("early")
        await asyncio.sleep(0.1)
        assert not early.done()
        late = room.submit("late")
        room.withdraw()
        assert await asyncio.gather(early, late) == ["early", "late"]
    assert sizes == [2]


async def test_preparation_is_waited_for_no_longer_than_max_wait(start_batcher):
    batcher = start_batcher(lambda works: works, max_wait=0.1)
    with batcher.reserve(2) as room:
        started = time.perf_counter()
        assert await room.submit("early") == "early"
        assert 0.05 < time.perf_counter() - started < 1


async def test_request_that_ends_in_preparation_holds_nobody_up(start_batcher):
    batcher = start_batcher(lambda works: works, max_wait=30)
    with batcher.reserve(1) as room:
        other = room.submit("other")
        with suppress(ZeroDivisionError), batcher.reserve(4) as failing:
            failing.submit("never awaited").cancel()
            raise ZeroDivisionError
        assert await asyncio.wait_for(other, 5) == "other"
    assert batcher.admitted == 0


async def test_submit_after_the_request_has_ended_is_refused_and_leaves_no_trace(start_batcher):
    batcher = start_batcher(lambda works: works, max_wait=30)
    with batcher.reserve(2) as room:
        pass
    with pytest.raises(RuntimeError, match="reserved"):
        room.submit("too late")
    with pytest.raises(RuntimeError, match="reserved"):
        room.withdraw()
    assert await asyncio.wait_for(ask(batcher, "next"), 5) == ["next"]


async def test_idle_batcher_uses_no_processor_time(start_batcher):
    batcher = start_batcher(lambda works: works, max_wait=0.001, threads=4)
    await ask(batcher, 1)
    started = time.process_time()
    await asyncio.to_thread(time.sleep, 1)
    assert time.process_time() - started < 0.05


async def test_observer_is_told_size_wait_and_duration(start_batcher):
    seen = []
    batcher = start_batcher(
        lambda works: time.sleep(0.05) or works, observe=lambda *figures: seen.append(figures), max_batch=2
    )
    await ask(batcher, 1, 2, 3)
    (first, second) = seen
    assert (first[0], second[0]) == (2, 1)
    assert first[1] < 0.04 < second[1]
    assert first[2] >= 0.05
