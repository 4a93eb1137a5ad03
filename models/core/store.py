"""The checkpoint store: a folder of immutable versions, shared backbone weights, and one movable pointer a model.

<root>/_weights/<sha256>.safetensors       or, of a language model with its tokenizer, the folder _weights/<sha256>/
<root>/<model>/versions/<n>/{manifest.json, methods.safetensors, golden.json}
<root>/<model>/active.json                 which version serves, and every move of it so far
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from models.core.atomic import sync_folder, write_bytes, write_json
from models.core.checkpoint import (
    MANIFEST,
    Version,
    file_sha256,
    read_manifest,
    read_version,
    weights_bytes,
    write_version,
)
from models.core.errors import CheckpointError, UnknownNameError
from models.core.manifest import Manifest
from models.core.weight_folder import add_folder, checked_folder, folder_sha256

MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
VERSION_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class Activation:
    """One move of the pointer; `at` is an ISO 8601 time in UTC."""

    version: int
    at: str
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Active:
    """The version that serves, and the moves that led to it, oldest first."""

    version: int
    history: tuple[Activation, ...]


class CheckpointStore:
    """Safe for several processes: versions appear by rename, the pointer by replace, moves under a file lock."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def models(self) -> list[str]:
        """Names of the models that have an active version."""
        if not self.root.is_dir():
            return []
        return sorted(path.parent.name for path in self.root.glob("[a-z0-9]*/active.json"))

    def pointer_stamps(self) -> dict[str, tuple[int, ...]]:
        """Model → a stamp of its pointer file, which differs after every move; cheap enough to ask every second."""
        stamps: dict[str, tuple[int, ...]] = {}
        for path in self.root.glob("[a-z0-9]*/active.json"):
            with suppress(OSError):  # gone since the folder was listed
                found = path.stat()
                stamps[path.parent.name] = (found.st_mtime_ns, found.st_ino, found.st_size)
        return stamps

    def verify(self, model: str, version: int) -> None:
        """Read every file of a version, its weights among them. Raises UnknownNameError or CheckpointError."""
        manifest = self.read(model, version).manifest
        sha256 = manifest.backbone.sha256
        if manifest.prompts is not None:
            self.language_folder(sha256)
        elif file_sha256(self.require_weights(sha256)) != sha256:
            raise CheckpointError(f"{self.weights_path(sha256)} has another sha256: the file was changed or damaged")

    def versions(self, model: str) -> list[int]:
        """Published versions, ascending. Raises UnknownNameError."""
        folder = self._folder(model) / "versions"
        found = [number for number in _numbers(folder) if (folder / str(number) / MANIFEST).is_file()]
        if not found:
            raise UnknownNameError("model", model, self.models())
        return found

    def active(self, model: str) -> Active:
        """Raises UnknownNameError for a model without active version, CheckpointError for a damaged pointer."""
        found = self.find_active(model)
        if found is None:
            raise UnknownNameError("model", model, self.models())
        return found

    def find_active(self, model: str) -> Active | None:
        """None where no version was activated yet. Raises CheckpointError for a damaged pointer."""
        path = self._folder(model) / "active.json"
        if not path.exists():
            return None
        try:
            found = json.loads(path.read_bytes())
            return Active(int(found["version"]), tuple(Activation(**move) for move in found["history"]))
        except (ValueError, TypeError, KeyError) as error:
            raise CheckpointError(f"{path} is not readable: {error!r}") from error

    def read(self, model: str, version: int) -> Version:
        """A verified version. Raises UnknownNameError or CheckpointError."""
        return read_version(self._version_folder(model, version))

    def read_manifest(self, model: str, version: int) -> Manifest:
        return read_manifest(self._version_folder(model, version))

    def publish(self, model: str, version: Version) -> int:
        """Write a new version and return its number; it does not become active. Its weights must be in the store.

        A version that the model already has, byte for byte, keeps its number: publishing again after a crash is safe.
        """
        self.require_weights(version.manifest.backbone.sha256)
        folder = self._folder(model) / "versions"
        folder.mkdir(parents=True, exist_ok=True)
        with self._beside(model, folder) as beside:
            write_version(beside, version)
            with self.lock(model):
                number = self.manifest_hashes(model).get(file_sha256(beside / MANIFEST))
                if number is None:
                    number = max(_numbers(folder), default=0) + 1
                    beside.rename(folder / str(number))
        sync_folder(folder)
        return number

    @contextmanager
    def _beside(self, model: str, folder: Path) -> Iterator[Path]:
        """A folder to write into, locked while its writer lives; those of writers that were killed are removed."""
        with self.lock(model):
            for left in folder.glob(".*.tmp"):
                _remove_unless_locked(left)
            beside = folder / f".{os.urandom(8).hex()}.tmp"
            beside.mkdir()
            descriptor = os.open(beside, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            yield beside
        finally:
            shutil.rmtree(beside, ignore_errors=True)
            os.close(descriptor)

    def activate(self, model: str, version: int, *, actor: str, reason: str, instead_of: int | None = None) -> Active:
        """Move the pointer, forward or back; the history keeps every move. Raises UnknownNameError.

        With `instead_of` it is moved only while that version is the active one; else the answer shows which one is.
        """
        self._version_folder(model, version)
        move = Activation(version, datetime.now(UTC).isoformat(timespec="seconds"), actor, reason)
        with self.lock(model):
            path = self._folder(model) / "active.json"
            before = self.active(model) if path.exists() else None
            if instead_of is not None and before is not None and before.version != instead_of:
                return before
            active = Active(version, (*(before.history if before else ()), move))
            write_json(path, asdict(active))
        return active

    def manifest_hashes(self, model: str) -> dict[str, int]:
        """sha256 of every published manifest of the model → its version; empty for a model that is not there."""
        folder = self._folder(model) / "versions"
        paths = {number: folder / str(number) / MANIFEST for number in _numbers(folder)}
        return {file_sha256(path): number for number, path in paths.items() if path.is_file()}

    def add_weights(self, state: Mapping[str, Tensor], *, expected: str | None = None) -> str:
        """Store backbone weights once; returns their sha256. Raises CheckpointError when it is not the expected one."""
        content = weights_bytes(state)
        sha256 = hashlib.sha256(content).hexdigest()
        if expected not in (None, sha256):
            raise CheckpointError(f"backbone weights have sha256 {sha256}, expected {expected}")
        path = self.weights_path(sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)
        return sha256

    def add_language_folder(self, source: Path, *, expected: str | None = None) -> str:
        """Store a language model's files once; returns their sha256. Raises CheckpointError if it is not expected."""
        return add_folder(source, self.root / "_weights", expected=expected)

    def has_language_folder(self, sha256: str) -> bool:
        """Whether it is there and whole."""
        folder = self.root / "_weights" / sha256
        return folder.is_dir() and folder_sha256(folder) == sha256

    def language_folder(self, sha256: str) -> Path:
        """Every file of it verified. Raises CheckpointError where one is missing or damaged."""
        return checked_folder(self.root / "_weights", sha256)

    def weights_path(self, sha256: str) -> Path:
        return self.root / "_weights" / f"{sha256}.safetensors"

    def require_weights(self, sha256: str) -> Path:
        """The file, or of a language model the folder. Raises CheckpointError where there is neither."""
        path = self.weights_path(sha256)
        folder = path.with_suffix("")
        if folder.is_dir():
            return folder
        if not path.exists():
            raise CheckpointError(f"backbone weights {sha256} are not in the store {self.root}; add_weights() first")
        return path

    def read_weights(self, sha256: str) -> dict[str, Tensor]:
        """Raises CheckpointError when the file is missing or its content has another hash."""
        path = self.require_weights(sha256)
        found = file_sha256(path)
        if found != sha256:
            raise CheckpointError(f"{path} has sha256 {found}: the file was changed or damaged")
        try:
            state: dict[str, Tensor] = safetensors.torch.load_file(path)
        except SafetensorError as error:
            raise CheckpointError(f"{path}: {error}") from error
        return state

    def _folder(self, model: str) -> Path:
        if not MODEL_NAME.fullmatch(model):
            raise UnknownNameError("model", model, self.models())
        return self.root / model

    def _version_folder(self, model: str, version: int) -> Path:
        known = self.versions(model)
        if version not in known:
            raise UnknownNameError(f"version of {model}", str(version), map(str, known))
        return self._folder(model) / "versions" / str(version)

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock of a model (or of `_install`) against other processes and threads."""
        (self.root / name).mkdir(parents=True, exist_ok=True)
        with (self.root / name / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _remove_unless_locked(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(descriptor)


def _numbers(folder: Path) -> list[int]:
    """Numbers of the version folders, ascending; what people leave beside them, such as `2.bak`, is no version."""
    return sorted(int(path.name) for path in folder.glob("*") if VERSION_NUMBER.fullmatch(path.name))
