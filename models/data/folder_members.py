"""Files below a folder on this machine, read where they lie; hashed once, so that a later change is noticed."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import IO

from models.core.errors import DataError
from models.data.limits import DataLimits
from models.data.member_names import is_data
from models.data.members import Members


class FolderMembers(Members):
    """Raises DataError for links and devices, and when a file is read that is no longer what it was."""

    def __init__(self, folder: Path, limits: DataLimits) -> None:
        self.folder = folder
        self.limits = limits
        names = sorted(name for name in _walk(folder, folder, limits) if is_data(name))
        self.digests = {name: self._digest(name) for name in names}
        self.sizes = {name: (folder / name).stat().st_size for name in names}

    @property
    def fingerprint(self) -> str:
        """sha256 over names, sizes and contents: equal for equal folders, wherever they lie."""
        lines = (f"{name}\0{self.sizes[name]}\0{digest.hex()}\n" for name, digest in self.digests.items())
        return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()

    def contents(self, names: Iterable[str]) -> Iterator[bytes | None]:
        for name in names:
            with self._opened(name) as file:
                content = file.read()
            if hashlib.sha256(content).digest() != self.digests[name]:
                raise DataError(f"{self.folder.name}/{name} has changed since it was registered: register it again")
            yield content

    def open(self, name: str) -> IO[bytes]:
        return self._opened(name)

    def _opened(self, name: str) -> BufferedReader:
        try:
            return open(os.open(self.folder / name, os.O_RDONLY | os.O_NOFOLLOW), "rb")
        except OSError as error:
            raise DataError(f"{self.folder.name}/{name} cannot be read: {error.strerror}") from error

    def _digest(self, name: str) -> bytes:
        self.limits.between_rows()
        with self._opened(name) as file:
            return hashlib.file_digest(file, "sha256").digest()


def _walk(folder: Path, root: Path, limits: DataLimits) -> Iterator[str]:
    found = 0
    for here, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(here, name)
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise DataError(f"{path.relative_to(root)} is a link or device, which is not followed: copy the file")
        found += len(files)
        if found > limits.members:
            raise DataError(f"{root.name} has more than the {limits.members} files allowed: split it")
        yield from (Path(here, name).relative_to(root).as_posix() for name in files)
