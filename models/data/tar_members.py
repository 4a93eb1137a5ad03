"""A tar, plain or gzipped, from a stranger. Gzip is first unpacked, within limits, for random access."""

import gzip
import tarfile
import weakref
import zlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import IO

from models.core.errors import DataError
from models.data.limits import DataLimits, MiB
from models.data.member_names import check_name
from models.data.members import Members
from models.data.spool import check_unpacked, spool

BLOCK = 512
GZIP_ERRORS = (gzip.BadGzipFile, EOFError, zlib.error)


class HeadersOnly:
    """A file that refuses long reads: tarfile takes the memory that an extended header claims to need."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if size > MiB:
            raise DataError(f"the tar has a header of {size} bytes; pack it again with plain names")
        return self.file.read(size)


class TarMembers(Members):
    """The files of a tar. Raises DataError for what is no tar, is cut off, or has unsafe members or sizes."""

    def __init__(self, path: Path, limits: DataLimits) -> None:
        self.file = _plain(path, limits)
        try:
            self.places = _places(self.file, limits)
        except BaseException:
            self.file.close()
            raise
        self.sizes = {name: size for name, (_, size) in self.places.items()}
        weakref.finalize(self, self.file.close)

    def contents(self, names: Iterable[str]) -> Iterator[bytes | None]:
        for name in names:
            yield self._read(name)

    def open(self, name: str) -> IO[bytes]:
        return BytesIO(self._read(name))

    def _read(self, name: str) -> bytes:
        start, size = self.places[name]
        self.file.seek(start)
        return self.file.read(size)


def _plain(path: Path, limits: DataLimits) -> IO[bytes]:
    packed = path.stat().st_size
    if not packed:
        raise DataError("empty file")
    if path.suffix not in (".gz", ".tgz"):
        return path.open("rb")
    try:
        with gzip.open(path) as stream:
            return spool(stream, packed, limits, "the tar.gz")
    except GZIP_ERRORS as error:
        raise DataError(f"the gzip is damaged or cut off: {error}") from error


def _places(file: IO[bytes], limits: DataLimits) -> dict[str, tuple[int, int]]:
    places: dict[str, tuple[int, int]] = {}
    try:
        with tarfile.open(fileobj=HeadersOnly(file), mode="r:") as archive:  # type: ignore[call-overload]
            for member in archive:
                limits.between_rows()
                _add(places, member)
                if len(archive.members) > limits.members:
                    raise DataError(f"the tar has more than {limits.members} members; upload it in parts")
            end = archive.offset
    except (tarfile.TarError, EOFError, UnicodeError, OverflowError) as error:
        raise DataError(f"not a readable tar, damaged or cut off: {error}") from error
    _check_end(file, end, len(places))
    unpacked = sum(size for _, size in places.values())
    # A plain tar cannot be smaller than what is in it; members that overlap would be the exception.
    check_unpacked(file.seek(0, 2), unpacked, limits, "the tar")
    return places


def _add(places: dict[str, tuple[int, int]], member: tarfile.TarInfo) -> None:
    name = check_name(member.name.removeprefix("./"))
    if member.isdir():
        return
    if not member.isreg() or member.sparse is not None:
        raise DataError(f"the tar has a link, device or sparse file, {name!r}: pack the file itself")
    if name in places:
        raise DataError(f"the tar has two members named {name!r}: which one counts? Pack it again")
    places[name] = (member.offset_data, member.size)


def _check_end(file: IO[bytes], end: int, members: int) -> None:
    # tarfile takes a damaged header for the end of the archive and says nothing.
    file.seek(end)
    if file.read(BLOCK) != bytes(BLOCK):
        raise DataError(f"the tar is damaged or cut off after {members} files: there is no end mark")
