"""Data that lies on this machine below one folder the operator named; nothing outside of it can be reached."""

import stat
from pathlib import Path

from app.errors import InvalidError, NotFoundError


def below(data_root: Path | None, path: str) -> Path:
    """The file or folder `path` below the root. Raises InvalidError for links and ways out, and NotFoundError."""
    if data_root is None:
        raise InvalidError("paths are off: start the server with HOWSURE_DATA_ROOT set, or upload the data")
    parts = path.split("/")
    if not path.isprintable() or "\\" in path or any(part in ("", ".", "..") for part in parts):
        raise InvalidError(f"{path!r} is no plain path: give folders and a name below the data root, as in photos/2024")
    here = data_root
    for part in parts:
        here = here / part
        if _kind(here) == stat.S_IFLNK:
            raise InvalidError(f"{path!r} goes through a link, which is not followed: name the real folder")
    if _kind(here) not in (stat.S_IFREG, stat.S_IFDIR):
        raise NotFoundError(f"there is no file or folder {path!r} below the data root")
    return here


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _kind(path: Path) -> int:
    try:
        return stat.S_IFMT(path.lstat().st_mode)
    except OSError:  # not there, not allowed, or a name longer than the file system takes
        return 0
