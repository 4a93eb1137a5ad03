"""Room for a cache: those that were used longest ago go first, never one that a live process reads or fills."""

import fcntl
import os
import shutil
from pathlib import Path

from models.feature_cache.cache import IN_USE, root_locked

REMOVED = ".removed-"


def make_room(root: Path, needed: int, allowed: int) -> tuple[str, ...]:
    """Remove caches until the others and `needed` bytes are at most `allowed`, as far as they can go; returns names.

    A reader is never disturbed: whoever opens a cache locks it, and does so while no one removes any.
    """
    with root_locked(root):
        going = _marked(root, needed, allowed)
    for folder in root.glob(f"{REMOVED}*"):  # also what a process that was killed here has left
        shutil.rmtree(folder, ignore_errors=True)
    return going


def size_of(folder: Path) -> int:
    """Bytes of the files below a folder, which may be changing."""
    return sum(_size(Path(here, name)) for here, _, names in os.walk(folder) for name in names)


def _marked(root: Path, needed: int, allowed: int) -> tuple[str, ...]:
    caches = sorted(root.glob(f"[!.]*/{IN_USE}"), key=lambda path: path.stat().st_mtime_ns)
    sizes = {path: size_of(path.parent) for path in caches}
    held, going = sum(sizes.values()), []
    for path in caches:
        if held + needed <= allowed:
            break
        if _is_free(path):
            path.parent.rename(root / f"{REMOVED}{os.urandom(8).hex()}")
            going.append(path.parent.name)
            held -= sizes[path]
    return tuple(going)


def _is_free(path: Path) -> bool:
    with path.open("rb+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
