"""Filling a cache: by several threads, processes and machines at once, any of which may be killed.

Each shard is made by one of them, under a lock that ends with its process. A batch is of fixed rows, so the bytes are
the same whoever makes them. Threads decode on cores of their own; where the network is on a GPU they take turns there.
"""

import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from pathlib import Path

from models.core.atomic import publish_folder
from models.core.device import use_cores
from models.feature_cache.cache import FeatureCache
from models.feature_cache.forward import ForwardPasses
from models.feature_cache.row_format import RowFormat
from models.feature_cache.shard import ShardWriter


def fill(cache: FeatureCache, passes: ForwardPasses, told: Callable[[int], None], *, threads: int) -> int:
    """Make what is missing, and wait for what others are making; returns how many rows were made here.

    `told` hears, from this thread, how many rows are there. Raises ValueError for passes that are not what the key
    says, StaleCacheError for a folder with another format, and what the data raise when they cannot be read.
    """
    _check(cache, passes)
    key = cache.key
    layout = RowFormat.of(passes.network, key.floats, logits=key.logits, energies=key.energies)
    layout.settle(cache.folder)
    filling = _Filling(cache, passes, layout)
    missing = cache.missing(layout)
    there = key.total - sum(cache.rows_of(start) for start in missing)
    if there:
        told(there)
    elsewhere: list[int] = []
    for wait in (False, True):
        todo = elsewhere if wait else missing
        elsewhere = []
        for start, done in filling.make(todo, threads, wait=wait):
            if done:
                there += cache.rows_of(start)
                told(there)
            else:
                elsewhere.append(start)
    return filling.made


class _Filling:
    def __init__(self, cache: FeatureCache, passes: ForwardPasses, layout: RowFormat) -> None:
        self.cache, self.passes, self.layout = cache, passes, layout
        self.made = 0
        self._stopped = threading.Event()

    def make(self, starts: Sequence[int], threads: int, *, wait: bool) -> Iterator[tuple[int, bool]]:
        """Shards as they are dealt with, and whether they are there now."""
        pool = ThreadPoolExecutor(threads, "howsure-fill", initializer=use_cores, initargs=(1,))
        try:
            futures = {pool.submit(self._make, start, wait): start for start in starts}
            for future in as_completed(futures):
                rows = future.result()
                self.made += rows or 0
                yield futures.pop(future), rows is not None
        finally:
            self._stopped.set()
            pool.shutdown(cancel_futures=True)
            self._stopped.clear()

    def _make(self, start: int, wait: bool) -> int | None:
        """Rows made here; None if another one is making the shard."""
        with _claimed(self.cache.path_of(start), wait) as beside:
            if beside is None:
                return None
            if self.cache.is_sound(start, self.layout):
                return 0
            rows = self.cache.rows_of(start)
            with ShardWriter(beside, rows, self.layout) as writer:
                self._write(writer, start, start + rows)
            publish_folder(beside, self.cache.path_of(start))
            return rows

    def _write(self, writer: ShardWriter, start: int, stop: int) -> None:
        size = self.passes.batch_rows
        for first in range(start, stop, size):
            if self._stopped.is_set():
                raise InterruptedError("filling was stopped")
            writer.append(self.passes.compute(first, min(first + size, stop)))
        writer.finish()


@contextmanager
def _claimed(target: Path, wait: bool) -> Iterator[Path | None]:
    """An empty folder beside `target`, locked while its maker lives; None if it is another's and there is no `wait`."""
    beside = target.with_name(f".{target.name}.tmp")
    descriptor = _lock(beside, wait)
    if descriptor is None:
        yield None
        return
    try:
        for left in beside.iterdir():  # of a maker that was killed
            left.unlink()
        yield beside
    finally:
        if _is_at(descriptor, beside):  # else it was published, and what is there now is another's
            shutil.rmtree(beside, ignore_errors=True)
        os.close(descriptor)


def _lock(folder: Path, wait: bool) -> int | None:
    while True:
        with suppress(FileExistsError):
            folder.mkdir()
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # published or removed since
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            return None
        if _is_at(descriptor, folder):
            return descriptor
        os.close(descriptor)


def _is_at(descriptor: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    except FileNotFoundError:
        return False


def _check(cache: FeatureCache, passes: ForwardPasses) -> None:
    key, network = cache.key, passes.network
    plan = None if network.gradients is None else network.gradients.plan
    given = (network.precision, network.input_spec, plan, passes.plan, len(passes.rows.names))
    wanted = (key.precision, key.input_spec, key.gradients, key.views, key.images)
    if given != wanted or passes.rows.fingerprint != key.rows:
        raise ValueError(f"the key is of {wanted}, the network and rows are {given}: make the key from both")
