"""Data on its way in: a hidden folder that becomes a dataset in one rename, or is swept when its writer has died."""

import errno
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from app.errors import InsufficientStorageError
from models.core.atomic import sync_folder
from models.data.open_dataset import format_of

PREFIX = ".incoming-"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ABANDONED_SECONDS = 86_400.0


class Incoming:
    """One upload. The folder is locked as long as this process lives, whatever becomes of it."""

    def __init__(self, root: Path) -> None:
        with room_on(root):
            root.mkdir(parents=True, exist_ok=True)
            with root_locked(root):  # or a sweep could come between the folder and its lock
                self.folder = root / f"{PREFIX}{os.urandom(8).hex()}"
                self.folder.mkdir()
                self._lock = os.open(self.folder, os.O_RDONLY)
                fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.size = 0
        self._hash = hashlib.sha256()
        self._file: IO[bytes] | None = None

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def open(self, filename: str) -> None:
        """Begin the content. Raises DataError when the name's ending is no known format."""
        self.content = self.folder / f"content.{format_of(filename)}"
        with room_on(self.folder):
            self._file = self.content.open("xb")

    def write(self, content: bytes) -> None:
        """Raises InsufficientStorageError when the disk is full."""
        assert self._file is not None
        with room_on(self.folder):
            self._file.write(content)
        self._hash.update(content)
        self.size += len(content)

    def finish(self) -> None:
        """Make the content durable."""
        assert self._file is not None
        with room_on(self.folder):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def publish(self, target: Path) -> None:
        """Become the folder `target`, which must not be there."""
        sync_folder(self.folder)
        self.folder.rename(target)
        sync_folder(target.parent)

    def discard(self) -> None:
        """Remove what is left here; nothing once it was published. May be called twice."""
        if self._lock < 0:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._file is not None:
            with suppress(OSError):  # where the disk is full, the buffer cannot be written either
                self._file.close()
        os.close(self._lock)
        self._lock = -1


def sweep(root: Path) -> int:
    """Remove what dead writers left, and anything a day old; returns how many folders."""
    if not root.is_dir():
        return 0
    with root_locked(root):
        left = [folder for folder in root.glob(f"{PREFIX}*") if _abandoned(folder)]
        for folder in left:
            shutil.rmtree(folder, ignore_errors=True)
    return len(left)


@contextmanager
def root_locked(root: Path) -> Iterator[None]:
    """One process, and one thread of it, at a time."""
    with (root / ".lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def room_on(folder: Path) -> Iterator[None]:
    """Turns "disk full" into InsufficientStorageError."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise InsufficientStorageError(
            f"no room left for the data ({error.strerror}); nothing of it was kept. Delete datasets, or make room at"
            f" {folder if not folder.name.startswith('.') else folder.parent}"
        ) from error


def _abandoned(folder: Path) -> bool:
    try:
        old = time.time() - folder.stat().st_mtime > ABANDONED_SECONDS
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:  # its writer, who needs no lock for that, has discarded it meanwhile
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return old
    finally:
        os.close(descriptor)
    return True
