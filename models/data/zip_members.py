"""A zip from a stranger: its directory is bounded before it is read, and every claim in it before it is believed."""

import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from models.core.errors import DataError
from models.data.limits import DataLimits
from models.data.member_names import check_name
from models.data.members import Members
from models.data.spool import check_unpacked

END, END_64 = b"PK\x05\x06", b"PK\x06\x06"
END_SEARCH = 2**16 + 200  # the end record, the longest comment, and the zip64 records before it
ENTRY_BYTES = 400  # of the directory: 46, a name, and extra fields
ENCRYPTED = 0x1
READ_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error)


def open_zip(path: Path, limits: DataLimits) -> zipfile.ZipFile:
    """Raises DataError for what is no zip, and for names, kinds of member, numbers and sizes that are unsafe."""
    _check_directory(path, limits)
    try:
        archive = zipfile.ZipFile(path)
    except (*READ_ERRORS, LookupError) as error:
        raise DataError(f"not a readable zip: {error}") from error
    try:
        _check_members(archive.infolist(), path.stat().st_size, limits)
    except BaseException:
        archive.close()
        raise
    return archive


class ZipMembers(Members):
    """The files of a zip. Raises DataError as `open_zip` does."""

    def __init__(self, path: Path, limits: DataLimits) -> None:
        self.path = path
        self.limits = limits
        with open_zip(path, limits) as archive:
            self.sizes = {entry.filename: entry.file_size for entry in archive.infolist() if not entry.is_dir()}

    def contents(self, names: Iterable[str]) -> Iterator[bytes | None]:
        with zipfile.ZipFile(self.path) as archive:
            for name in names:
                yield _content(archive, name)

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(name) as stream:
                yield stream
        except DataError:
            raise
        except READ_ERRORS as error:
            raise DataError(f"{name} is damaged in the archive: {error}") from error


def _content(archive: zipfile.ZipFile, name: str) -> bytes | None:
    try:
        with archive.open(name) as stream:
            # Without a size, zipfile decompresses all there is before it looks at how much was claimed.
            return stream.read(archive.getinfo(name).file_size)
    except READ_ERRORS:
        return None


def _check_directory(path: Path, limits: DataLimits) -> None:
    # zipfile reads the whole directory into memory and makes an object of each entry, before anyone can count them.
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - END_SEARCH))
        tail = file.read()
    end = tail.rfind(END)
    if end < 0 or len(tail) < end + 22:
        raise DataError("not a readable zip: its directory is missing; is the file cut off?" if size else "empty file")
    (directory,) = struct.unpack_from("<L", tail, end + 12)
    wide = tail.rfind(END_64, 0, end)
    if wide >= 0 and end - wide >= 56:
        (directory,) = struct.unpack_from("<Q", tail, wide + 40)
    if directory > limits.members * ENTRY_BYTES:
        raise DataError(f"the zip's directory is too long for the {limits.members} members allowed; upload it in parts")


def _check_members(entries: list[zipfile.ZipInfo], packed: int, limits: DataLimits) -> None:
    if len(entries) > limits.members:
        raise DataError(f"the zip has {len(entries)} members, at most {limits.members} are allowed; upload it in parts")
    check_unpacked(packed, sum(entry.file_size for entry in entries), limits, "the zip")
    seen: set[str] = set()
    for entry in entries:
        _check_member(entry, packed)
        if entry.filename in seen:
            raise DataError(f"the zip has two members named {entry.filename!r}: which one counts? Pack it again")
        seen.add(entry.filename)


def _check_member(entry: zipfile.ZipInfo, packed: int) -> None:
    check_name(entry.orig_filename)
    if not 0 <= entry.header_offset < packed:
        raise DataError(f"the zip's directory is damaged: it has {entry.filename!r} outside of the file")
    kind = entry.external_attr >> 28  # the type of a Unix file; other systems leave it 0
    if kind not in (0, 0o4, 0o10):
        raise DataError(f"the zip has a link or device, {entry.filename!r}: pack the file itself")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"{entry.filename!r} is compressed in an unusual way: pack it stored or deflated")
    if entry.flag_bits & ENCRYPTED:
        raise DataError(f"{entry.filename!r} is encrypted: pack it without a password")
