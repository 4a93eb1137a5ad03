"""Decompressed data in an unlinked temporary file: random access to it without holding it in memory."""

import tempfile
from typing import IO, Protocol

from models.core.errors import DataError
from models.data.limits import DataLimits

CHUNK = 2**20


class Readable(Protocol):
    """A binary stream."""

    def read(self, size: int, /) -> bytes: ...


def spool(stream: Readable, packed: int, limits: DataLimits, what: str) -> IO[bytes]:
    """A file at position 0 with all of `stream`, which came from `packed` bytes; gone when it is closed.

    Raises DataError as soon as more comes out than the limits allow, whatever any header claims.
    """
    file = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it
    try:
        size = 0
        while chunk := stream.read(CHUNK):
            limits.between_rows()
            size += len(chunk)
            check_unpacked(packed, size, limits, what)
            file.write(chunk)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def check_unpacked(packed: int, unpacked: int, limits: DataLimits, what: str) -> None:
    """Raises DataError where a claimed or actual size says: bomb."""
    if unpacked > limits.unpacked_bytes:
        raise DataError(f"{what}: unpacks to more than the {limits.unpacked_bytes} bytes allowed; upload it in parts")
    if not limits.packed_well(packed, unpacked):
        raise DataError(
            f"{what}: unpacks to more than {limits.ratio:g} times its size, as no real data does; pack it uncompressed"
        )
