"""Turns single items into batches for the model threads, and answers every caller, whatever fails.

An item is admitted (`reserve`), prepared by its caller, then handed over (`submit`). The thread blocks for the first
item, then waits for items still being prepared, but at most `max_wait`; so a lone client never waits for company.

A GPU has one model thread. A CPU has one a core, each running its batch on that core alone: cores that share a batch
wait for each other after every layer, which costs most just when decoding wants a core as well.
"""

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from app.errors import HowsureError, InternalError, NotReadyError, QueueFullError

log = logging.getLogger("howsure.batcher")

Work = TypeVar("Work")
Result = TypeVar("Result")


@dataclass(slots=True)
class _Item(Generic[Work, Result]):
    work: Work
    group: Hashable
    future: asyncio.Future[Result]
    queued_at: float = field(default_factory=time.perf_counter)


class Batcher(Generic[Work, Result]):
    """`run` gets 1..max_batch items of one `group` on a model thread and returns one result an item, in order.

    `fitting` says how many of the first of some items go into one batch, at least 1; nothing of their group overtakes.
    """

    def __init__(
        self,
        run: Callable[[list[Work]], list[Result]],
        group: Callable[[Work], Hashable],
        *,
        max_batch: int,
        max_wait: float,
        capacity: int,
        threads: int = 1,
        fitting: Callable[[list[Work]], int] = len,
        observe: Callable[[int, float, float], None] = lambda size, waited, ran: None,
    ) -> None:
        self._run = run
        self._group = group
        self._max_batch = max_batch
        self._max_wait = max_wait
        self._capacity = capacity
        self._fitting = fitting
        self._observe = observe
        self._queue: deque[_Item[Work, Result]] = deque()
        self._running: dict[str, list[_Item[Work, Result]]] = {}  # what each busy thread has in hand
        self._changed = threading.Condition()
        self._preparing = 0  # admitted, not yet submitted
        self._admitted = 0  # admitted, not yet answered
        self._closing = False
        self._ended: HowsureError | None = None  # what every item gets from now on
        self._rate = 0.0  # items a second, smoothed
        self._threads = [
            threading.Thread(target=self._loop, name=f"howsure-model-{number}", daemon=True)
            for number in range(threads)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        return self._ended is None and all(thread.is_alive() for thread in self._threads)

    @property
    def admitted(self) -> int:
        """Items in the house: being prepared, queued or running."""
        return self._admitted

    def check_room(self, items: int = 1) -> None:
        """Raises QueueFullError or NotReadyError if `reserve` would; cheap, for asking before a body is read."""
        if self._ended is not None:
            raise NotReadyError(self._ended.detail)
        if self._closing or not self.alive:
            raise NotReadyError("the server is shutting down" if self._closing else "the model thread is not running")
        if self._admitted + items > self._capacity:
            seconds = self._seconds_until_room(items)
            raise QueueFullError(f"the queue of {self._capacity} items is full; try again in {seconds} s", seconds)

    @contextmanager
    def reserve(self, items: int) -> Iterator["Reservation[Work, Result]"]:
        """Room for `items` items until the block ends. Raises QueueFullError or NotReadyError."""
        with self._changed:
            self.check_room(items)
            self._admitted += items
            self._preparing += items
        reservation = Reservation(self, items)
        try:
            yield reservation
        finally:
            with self._changed:
                self._admitted -= items
                self._preparing -= reservation.unsettled
                reservation.unsettled = 0
                self._changed.notify_all()

    async def close(self, timeout: float) -> None:
        """Refuse new items, finish what is queued, stop the threads; after `timeout` seconds the rest gets an error."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        await asyncio.to_thread(self._join, time.monotonic() + timeout)
        self._end(NotReadyError("the server shut down before this item was scored"))

    def hand_over(self, work: Work) -> asyncio.Future[Result]:
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        with self._changed:
            self._preparing -= 1
            if self._ended is None:
                self._queue.append(_Item(work, self._group(work), future))
            else:
                future.set_exception(self._ended)
            self._changed.notify_all()
        return future

    def give_up(self) -> None:
        with self._changed:
            self._preparing -= 1
            self._changed.notify_all()

    def _seconds_until_room(self, items: int) -> int:
        excess = self._admitted + items - self._capacity
        return max(1, math.ceil(excess / self._rate)) if self._rate else 1

    def _join(self, deadline: float) -> None:
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _loop(self) -> None:
        name = threading.current_thread().name
        try:
            while not self._finished():
                batch = self._next_batch(name)
                if batch:
                    self._process(batch)
        except BaseException as error:
            log.critical("model thread died", exc_info=error, extra={"event": "model_thread_died"})
            self._end(InternalError("the model thread died; the server must be restarted"))

    def _finished(self) -> bool:
        with self._changed:
            return self._closing and not self._preparing and not self._queue

    def _next_batch(self, thread: str) -> list[_Item[Work, Result]]:
        """Blocks for the first item; empty when closing, when another thread was faster, or all callers have gone."""
        with self._changed:
            self._running.pop(thread, None)
            self._changed.wait_for(lambda: self._queue or (self._closing and not self._preparing))
            self._changed.wait_for(self._enough, timeout=self._max_wait)
            batch = self._take()
            if batch:
                self._running[thread] = batch
            return batch

    def _enough(self) -> bool:
        return len(self._queue) >= self._max_batch or not self._preparing

    def _take(self) -> list[_Item[Work, Result]]:
        """The oldest item and those of its group, in order; items whose caller has gone are dropped.

        Idle threads share what waits, so that none stays idle while another has it all.
        """
        waiting = [item for item in self._queue if not item.future.cancelled()]
        idle = len(self._threads) - len(self._running)
        most = min(self._max_batch, math.ceil(len(waiting) / idle))
        batch = [item for item in waiting if item.group == waiting[0].group][:most]
        batch = batch[: self._fitting([item.work for item in batch])]
        taken = set(map(id, batch))
        self._queue = deque(item for item in waiting if id(item) not in taken)
        return batch

    def _process(self, batch: list[_Item[Work, Result]]) -> None:
        started = time.perf_counter()
        outcomes = self._attempt(batch)
        seconds = time.perf_counter() - started
        rate = len(self._threads) * len(batch) / seconds
        self._rate = 0.8 * self._rate + 0.2 * rate if self._rate else rate
        self._observe(len(batch), started - batch[0].queued_at, seconds)
        _settle(batch, outcomes)

    def _attempt(self, batch: list[_Item[Work, Result]]) -> list[Result | HowsureError]:
        """Results in order. When a batch fails its items are tried alone, so that one bad item spoils no other."""
        try:
            results = self._run([item.work for item in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"{len(batch)} items gave {len(results)} results")
            return list(results)
        except Exception as error:
            if len(batch) > 1:
                return [outcome for item in batch for outcome in self._attempt([item])]
            log.error("item failed", exc_info=error, extra={"event": "item_failed"})
            return [error if isinstance(error, HowsureError) else InternalError("the model failed on this item")]

    def _end(self, error: HowsureError) -> None:
        """Answer everything that is queued, running (a stuck run never returns) or still to come with `error`."""
        with self._changed:
            self._closing = True
            self._ended = self._ended or error
            items = [*(item for batch in self._running.values() for item in batch), *self._queue]
            self._queue.clear()
            self._changed.notify_all()
        outcomes: list[Result | HowsureError] = [error] * len(items)
        _settle(items, outcomes)


class Reservation(Generic[Work, Result]):
    """Room for some items; each is settled once, by `submit` or by `withdraw`."""

    def __init__(self, batcher: Batcher[Work, Result], items: int) -> None:
        self._batcher = batcher
        self.unsettled = items

    def submit(self, work: Work) -> asyncio.Future[Result]:
        """Hand a prepared item over; cancel the future to drop the item."""
        self._settle_one()
        return self._batcher.hand_over(work)

    def withdraw(self) -> None:
        """An item could not be prepared: nobody needs to wait for it."""
        self._settle_one()
        self._batcher.give_up()

    def _settle_one(self) -> None:
        if self.unsettled == 0:
            raise RuntimeError("more items than reserved, or the reservation has ended")
        self.unsettled -= 1


def _settle(items: list[_Item[Work, Result]], outcomes: list[Result | HowsureError]) -> None:
    """Resolve the futures on their event loops, one call a loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Result], Result | HowsureError]]] = {}
    for item, outcome in zip(items, outcomes, strict=True):
        by_loop.setdefault(item.future.get_loop(), []).append((item.future, outcome))
    for loop, pairs in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits there any more
            loop.call_soon_threadsafe(_resolve, pairs)


def _resolve(pairs: list[tuple[asyncio.Future[Result], Result | HowsureError]]) -> None:
    for future, outcome in pairs:
        if future.done():
            continue
        if isinstance(outcome, HowsureError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
