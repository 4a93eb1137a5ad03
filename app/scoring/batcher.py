"""Turns single items into batches for one model thread, and answers every caller, whatever fails.

An item is admitted (`reserve`), prepared by its caller, then handed over (`submit`). The thread blocks for the first
item, then waits for items still being prepared, but at most `max_wait`; so a lone client never waits for company.
"""

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
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
    """`run` gets 1..max_batch items of one `group` on the model thread and returns one result an item, in order."""

    def __init__(
        self,
        run: Callable[[list[Work]], list[Result]],
        group: Callable[[Work], Hashable],
        *,
        max_batch: int,
        max_wait: float,
        capacity: int,
        observe: Callable[[int, float, float], None] = lambda size, waited, ran: None,
    ) -> None:
        self._run = run
        self._group = group
        self._max_batch = max_batch
        self._max_wait = max_wait
        self._capacity = capacity
        self._observe = observe
        self._queue: deque[_Item[Work, Result]] = deque()
        self._changed = threading.Condition()
        self._preparing = 0  # admitted, not yet submitted
        self._admitted = 0  # admitted, not yet answered
        self._closing = False
        self._rate = 0.0  # items a second, smoothed
        self._thread = threading.Thread(target=self._loop, name="howsure-model", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def admitted(self) -> int:
        """Items in the house: being prepared, queued or running."""
        return self._admitted

    def check_room(self, items: int = 1) -> None:
        """Raises QueueFullError or NotReadyError if `reserve` would; cheap, for asking before a body is read."""
        if self._closing or not self._thread.is_alive():
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
                self._changed.notify_all()

    async def close(self, timeout: float) -> None:
        """Refuse new items, finish what is queued, stop the thread; after `timeout` seconds the rest gets an error."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        await asyncio.to_thread(self._thread.join, timeout)
        self._answer_all(list(self._queue), NotReadyError("the server shut down before this item was scored"))

    def hand_over(self, work: Work) -> asyncio.Future[Result]:
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        with self._changed:
            self._preparing -= 1
            if self._thread.is_alive():
                self._queue.append(_Item(work, self._group(work), future))
            else:
                future.set_exception(NotReadyError("the server shut down before this item was scored"))
            self._changed.notify_all()
        return future

    def give_up(self) -> None:
        with self._changed:
            self._preparing -= 1
            self._changed.notify_all()

    def _seconds_until_room(self, items: int) -> int:
        excess = self._admitted + items - self._capacity
        return max(1, math.ceil(excess / self._rate)) if self._rate else 1

    def _loop(self) -> None:
        batch: list[_Item[Work, Result]] = []
        try:
            while not self._finished():
                batch = self._next_batch()
                if batch:
                    self._process(batch)
        except BaseException as error:
            log.critical("model thread died", exc_info=error, extra={"event": "model_thread_died"})
            self._closing = True
            self._answer_all(
                [*batch, *self._queue], InternalError("the model thread died; the server must be restarted")
            )
            raise

    def _finished(self) -> bool:
        with self._changed:
            return self._closing and not self._preparing and not self._queue

    def _next_batch(self) -> list[_Item[Work, Result]]:
        """Blocks for the first item; empty when closing, or when every caller has gone."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or (self._closing and not self._preparing))
            self._changed.wait_for(self._enough, timeout=self._max_wait)
            return self._take()

    def _enough(self) -> bool:
        return len(self._queue) >= self._max_batch or not self._preparing

    def _take(self) -> list[_Item[Work, Result]]:
        """The oldest item and those of its group, in order; items whose caller has gone are dropped."""
        waiting = [item for item in self._queue if not item.future.cancelled()]
        batch: list[_Item[Work, Result]] = []
        rest: deque[_Item[Work, Result]] = deque()
        for item in waiting:
            fits = len(batch) < self._max_batch and item.group == waiting[0].group
            (batch if fits else rest).append(item)
        self._queue = rest
        return batch

    def _process(self, batch: list[_Item[Work, Result]]) -> None:
        started = time.perf_counter()
        outcomes = self._attempt(batch)
        seconds = time.perf_counter() - started
        self._rate = 0.8 * self._rate + 0.2 * len(batch) / seconds if self._rate else len(batch) / seconds
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

    def _answer_all(self, items: list[_Item[Work, Result]], error: HowsureError) -> None:
        self._queue.clear()
        outcomes: list[Result | HowsureError] = [error] * len(items)
        _settle(items, outcomes)


class Reservation(Generic[Work, Result]):
    """Room for some items; each is settled once, by `submit` or by `withdraw`."""

    def __init__(self, batcher: Batcher[Work, Result], items: int) -> None:
        self._batcher = batcher
        self.unsettled = items

    def submit(self, work: Work) -> asyncio.Future[Result]:
        """Hand a prepared item over; cancel the future to drop the item."""
        self.unsettled -= 1
        return self._batcher.hand_over(work)

    def withdraw(self) -> None:
        """An item could not be prepared: nobody needs to wait for it."""
        self.unsettled -= 1
        self._batcher.give_up()


def _settle(items: list[_Item[Work, Result]], outcomes: list[Result | HowsureError]) -> None:
    """Resolve the futures on their event loops, one call a loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Result], Result | HowsureError]]] = {}
    for item, outcome in zip(items, outcomes, strict=True):
        by_loop.setdefault(item.future.get_loop(), []).append((item.future, outcome))
    for loop, pairs in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, pairs)


def _resolve(pairs: list[tuple[asyncio.Future[Result], Result | HowsureError]]) -> None:
    for future, outcome in pairs:
        if future.done():
            continue
        if isinstance(outcome, HowsureError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
