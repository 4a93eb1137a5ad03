"""Weights that come as several files, such as a language model with its tokenizer: a folder known by one sha256."""

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path

from models.core.atomic import json_bytes, sync_folder, write_bytes
from models.core.checkpoint import file_sha256
from models.core.errors import CheckpointError


def folder_sha256(folder: Path) -> str:
    """Over the names and contents of its files. Raises CheckpointError for a folder that is missing or holds others."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is missing: add the weights again")
    paths = sorted(folder.iterdir())
    if not paths or not all(path.is_file() for path in paths):
        raise CheckpointError(f"{folder} must hold files, and nothing else")
    return hashlib.sha256(json_bytes({path.name: file_sha256(path) for path in paths})).hexdigest()


def add_folder(source: Path, root: Path, *, expected: str | None = None) -> str:
    """Copy the files of `source` to `<root>/<sha256>`, whole or not at all; returns the sha256.

    Raises CheckpointError when it is not the expected one.
    """
    sha256 = folder_sha256(source)
    if expected not in (None, sha256):
        raise CheckpointError(f"the files in {source} have sha256 {sha256} together, expected {expected}")
    if (root / sha256).is_dir():
        if folder_sha256(root / sha256) == sha256:
            return sha256
        (root / sha256).rename(root / f".{sha256}.{os.urandom(4).hex()}.damaged")  # kept: somebody may look for why
    root.mkdir(parents=True, exist_ok=True)
    beside = root / f".{sha256}.{os.urandom(4).hex()}.tmp"
    beside.mkdir()
    try:
        for path in sorted(source.iterdir()):
            write_bytes(beside / path.name, path.read_bytes())
        sync_folder(beside)
        with suppress(OSError):  # another process was faster: its files are the same
            beside.rename(root / sha256)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    sync_folder(root)
    checked_folder(root, sha256)
    return sha256


def checked_folder(root: Path, sha256: str) -> Path:
    """The folder, every file read. Raises CheckpointError where it is not what was added."""
    folder = root / sha256
    found = folder_sha256(folder)
    if found != sha256:
        raise CheckpointError(f"{folder} has sha256 {found}: a file was changed or damaged")
    return folder
