"""Any file or folder of labelled data as a dataset; the end of the file's name tells its format."""

from collections.abc import Callable
from pathlib import Path

from models.core.checkpoint import file_sha256
from models.core.errors import DataError
from models.data.dataset import Dataset, Source
from models.data.folder_members import FolderMembers
from models.data.image_arrays import ImageArrays
from models.data.image_files import ImageFiles
from models.data.limits import DataLimits
from models.data.npz import Npz
from models.data.output_readers import read_csv, read_jsonl, read_npz
from models.data.question_reader import holds_questions, read_questions
from models.data.tar_members import TarMembers
from models.data.zip_members import ZipMembers

Reader = Callable[[Source, Path, DataLimits], Dataset]

FORMATS = ("zip", "tar", "tar.gz", "tgz", "npz", "csv", "jsonl", "jsonl.gz")


def format_of(name: str) -> str:
    """The format that a file's name ends with. Raises DataError."""
    for ending in FORMATS:
        if name.lower().endswith(f".{ending}"):
            return ending
    raise DataError(f"{name!r} is of no known format: name it .{', .'.join(FORMATS)}")


def open_dataset(path: Path, *, name: str | None = None, limits: DataLimits | None = None) -> Dataset:
    """Raises DataError for what is unsafe, damaged, empty or of no known format.

    Rows that are wrong one by one are no error: `findings` has them, and `inspect` finds the rest.
    """
    limits = limits or DataLimits()
    if path.is_dir():
        members = FolderMembers(path, limits)
        return ImageFiles(Source(name or path.name, "folder", members.fingerprint), members, limits)
    ending = format_of(path.name)
    stem = path.name[: -len(ending) - 1]
    return READERS[ending](Source(name or stem, ending, file_sha256(path)), path, limits)


def _npz(source: Source, path: Path, limits: DataLimits) -> Dataset:
    npz = Npz(path, limits)
    return read_npz(source, npz, limits) if "logits" in npz.names else ImageArrays(source, npz, limits)


def _zip(source: Source, path: Path, limits: DataLimits) -> Dataset:
    return ImageFiles(source, ZipMembers(path, limits), limits)


def _tar(source: Source, path: Path, limits: DataLimits) -> Dataset:
    return ImageFiles(source, TarMembers(path, limits), limits)


def _jsonl(source: Source, path: Path, limits: DataLimits) -> Dataset:
    read = read_questions if holds_questions(path, limits) else read_jsonl
    return read(source, path, limits)


READERS: dict[str, Reader] = {
    "zip": _zip,
    "tar": _tar,
    "tar.gz": _tar,
    "tgz": _tar,
    "npz": _npz,
    "csv": read_csv,
    "jsonl": _jsonl,
    "jsonl.gz": _jsonl,
}
