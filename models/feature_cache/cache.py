"""The cached outputs of one network for one set of rows: a folder below a root, whose name is the digest of its key.

<root>/<digest>/key.json             what the outputs depend on, whole
<root>/<digest>/format.json          what is stored of a row
<root>/<digest>/in_use               locked, shared, by every process that fills or reads; changed when last opened
<root>/<digest>/shards/<first row>/  features.npy, labels.npy, losses.npy, perhaps logits.npy, energies.npy; bad.json
"""

import fcntl
import os
import resource
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from models.core.errors import StaleCacheError
from models.feature_cache.key import CacheKey
from models.feature_cache.row_format import RowFormat
from models.feature_cache.shard import Shard, open_shard, shard_rows

IN_USE = "in_use"
MOST_MAPS = 8192  # memory maps of one cache; a process may have 65,530


class FeatureCache:
    """Nobody removes the folder as long as this object, or what reads through it, is alive."""

    def __init__(self, root: Path, key: CacheKey) -> None:
        """Raises StaleCacheError where the folder's key is another one."""
        self.root = root
        self.key = key
        self.folder = root / key.digest
        self.shards = self.folder / "shards"
        self.shard_rows = shard_rows(key.total)
        with root_locked(root):
            self.shards.mkdir(parents=True, exist_ok=True)
            held = os.open(self.folder / IN_USE, os.O_RDWR | os.O_CREAT, 0o644)
            weakref.finalize(self, os.close, held)
            fcntl.flock(held, fcntl.LOCK_SH)
            os.utime(held)
            key.settle(self.folder)
        self._mapped: dict[int, Shard] = {}
        self._complete = False  # once all shards are there they stay, as long as this object lives

    @cached_property
    def layout(self) -> RowFormat:
        """Raises StaleCacheError before the first filling."""
        return RowFormat.read(self.folder)

    @property
    def starts(self) -> range:
        """The first row of every shard."""
        return range(0, self.key.total, self.shard_rows)

    def rows_of(self, start: int) -> int:
        """Rows in the shard that begins at `start`."""
        return min(self.shard_rows, self.key.total - start)

    def path_of(self, start: int) -> Path:
        return self.shards / f"{start:012}"

    def missing(self, layout: RowFormat) -> list[int]:
        """First rows of the shards that are not there, or not whole."""
        there = {path.name for path in self.shards.iterdir()}
        return [start for start in self.starts if f"{start:012}" not in there or not self.is_sound(start, layout)]

    def is_sound(self, start: int, layout: RowFormat) -> bool:
        try:
            open_shard(self.path_of(start), self.rows_of(start), layout)
        except StaleCacheError:
            return False
        return True

    def is_complete(self) -> bool:
        """Whether all shards are there, whole."""
        try:
            self.require_complete()
        except StaleCacheError:
            return False
        return True

    def require_complete(self) -> None:
        """Raises StaleCacheError unless all shards are there, whole."""
        if not self._complete and (missing := self.missing(self.layout)):
            raise StaleCacheError(f"{len(missing)} of {len(self.starts)} shards in {self.shards} are missing: fill it")
        self._complete = True

    def shard(self, start: int) -> Shard:
        """Raises StaleCacheError for one that is not there, or not whole."""
        found = self._mapped.get(start)
        if found is None:
            if len(self._mapped) >= self._most_open:
                self._mapped.clear()
            found = open_shard(self.path_of(start), self.rows_of(start), self.layout)
            self._mapped[start] = found
        return found

    @cached_property
    def _most_open(self) -> int:
        """Shards mapped at a time. Each map holds a file open, of which many processes may have but 1,024."""
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        maps = MOST_MAPS if files == resource.RLIM_INFINITY else min(files // 4, MOST_MAPS)
        return max(1, maps // len(self.layout.columns))

    def slices(self, start: int, stop: int) -> Iterator[tuple[Shard, slice]]:
        """The shards that hold rows `start` to `stop` - 1, and which of their own rows those are."""
        for first in range(start - start % self.shard_rows, stop, self.shard_rows):
            yield self.shard(first), slice(max(start - first, 0), min(stop - first, self.rows_of(first)))

    def bad(self) -> Iterator[tuple[int, str]]:
        """Rows of images that cannot be read, and why."""
        for first in self.starts:
            for place, reason in self.shard(first).bad.items():
                yield first + place, reason


@contextmanager
def root_locked(root: Path) -> Iterator[None]:
    """One process, and one thread of it, at a time."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
