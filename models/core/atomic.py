"""Files and folders that are there whole or not at all, also after a power cut."""

import json
import os
import shutil
from pathlib import Path
from typing import Any


def write_bytes(path: Path, content: bytes) -> None:
    """Replace the file at `path` in one step: write beside, fsync, rename, fsync the folder."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    try:
        with beside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, content: Any) -> None:
    """As `write_bytes`; equal content always gives equal bytes."""
    write_bytes(path, json_bytes(content))


def json_bytes(content: Any) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish_folder(beside: Path, target: Path) -> None:
    """Make the finished folder `beside` the folder `target`, in place of what may be there.

    The files in it must be on disk already. A reader sees the old folder, for a moment none, or the new one.
    """
    sync_folder(beside)
    if target.exists():
        old = target.with_name(f".{target.name}.{os.urandom(4).hex()}.old")
        target.rename(old)
        shutil.rmtree(old, ignore_errors=True)
    beside.rename(target)
    sync_folder(target.parent)
