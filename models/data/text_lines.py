"""Lines of text from a stranger: UTF-8, each of bounded length, all of bounded size."""

import codecs
from collections.abc import Iterator
from typing import IO

from models.core.errors import DataError
from models.data.limits import DataLimits
from models.data.spool import check_unpacked


def text_lines(stream: IO[bytes], packed: int, limits: DataLimits, what: str) -> Iterator[str]:
    """Lines with their ends, without a byte order mark; `packed` is the size that they came from, in bytes.

    Raises DataError, naming the line, for what is too long, too much, or no UTF-8.
    """
    size = 0
    for number, line in enumerate(iter(lambda: stream.readline(limits.line_bytes + 1), b""), start=1):
        limits.between_rows()
        size += len(line)
        if number > limits.members:
            raise DataError(f"{what} has more than {limits.members} lines; upload it in parts")
        if len(line) > limits.line_bytes:
            raise DataError(f"{what}: line {number} is longer than {limits.line_bytes} bytes; is it text at all?")
        check_unpacked(packed, size, limits, what)
        try:
            yield (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).decode()
        except UnicodeDecodeError as error:
            raise DataError(f"{what}: line {number} is not UTF-8 text ({error.reason}); save it as UTF-8") from error
