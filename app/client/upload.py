"""Labelled data on this machine, opened to be sent: from the disk, so that memory stays flat however large it is."""

import errno
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import IO, NamedTuple

Data = str | PathLike[str] | tuple[str, bytes]
SAME_TIME = (1980, 1, 1, 0, 0, 0)


class Upload(NamedTuple):
    """A file name, whose ending tells the server the format, and the content. The caller closes the file."""

    name: str
    file: IO[bytes]


def open_upload(data: Data) -> Upload:
    """A file as it is; a folder zipped into a temporary file. Raises OSError for what cannot be read."""
    if isinstance(data, tuple):
        name, content = data
        return Upload(name, io.BytesIO(content))
    path = Path(data)
    if path.is_dir():
        return Upload(f"{path.resolve().name}.zip", _zipped(path))
    return Upload(path.name, path.open("rb"))


def _zipped(folder: Path) -> IO[bytes]:
    file = tempfile.TemporaryFile(prefix="howsure-")  # noqa: SIM115  the caller closes it
    try:
        with zipfile.ZipFile(file, "w") as archive:
            for path in sorted(_files(folder)):
                _add(archive, path, path.relative_to(folder).as_posix())
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _add(archive: zipfile.ZipFile, path: Path, name: str) -> None:
    # The same folder again gives the same bytes, which the server knows by their hash.
    member = zipfile.ZipInfo(name, SAME_TIME)
    member.file_size = path.stat().st_size
    with path.open("rb") as source, archive.open(member, "w") as target:
        shutil.copyfileobj(source, target)


def _files(folder: Path) -> Iterator[Path]:
    """Those below the folder that are not hidden."""
    for here, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(here, name) for name in folders):
            if path.is_symlink():
                raise OSError(errno.ELOOP, "a link to a folder is not followed: copy the folder", str(path))
        yield from (Path(here, name) for name in files if not name.startswith("."))


def _raise(error: OSError) -> None:
    raise error
