"""The lines of a .jsonl file, which may be gzipped."""

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from models.core.errors import DataError
from models.data.limits import DataLimits
from models.data.tar_members import GZIP_ERRORS
from models.data.text_lines import text_lines


def json_lines(path: Path, limits: DataLimits) -> Iterator[tuple[str, str]]:
    """Name ("row 1", counting every line) and text of each line that is not blank. Raises DataError."""
    opened: Callable[[Path], Any] = gzip.open if path.suffix == ".gz" else lambda path: path.open("rb")
    try:
        with opened(path) as stream:
            lines = text_lines(stream, path.stat().st_size, limits, "the jsonl")
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield f"row {number}", line
    except GZIP_ERRORS as error:
        raise DataError(f"the gzip is damaged or cut off: {error}") from error
