"""One checkpoint version as files: `manifest.json`, `methods.safetensors`, `golden.json`. Never edited once written."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from models.core.atomic import json_bytes, sync_folder, write_bytes
from models.core.errors import CheckpointError
from models.core.golden import Golden
from models.core.manifest import Manifest

MANIFEST, METHODS, GOLDEN = "manifest.json", "methods.safetensors", "golden.json"
SEAL = re.compile(rb'^ "sha256": "([0-9a-f]{64})",\n', re.MULTILINE)  # one space: of the manifest itself


@dataclass(frozen=True, slots=True)
class Version:
    """What is stored of a version; `tensors` holds `<precision>.<method>.<tensor>` on the CPU."""

    manifest: Manifest
    tensors: dict[str, Tensor]
    golden: Golden

    def method_state(self, precision: str, method: str) -> dict[str, Tensor]:
        """The tensors of one method in one precision, under the method's own names."""
        prefix = f"{precision}.{method}."
        return {name.removeprefix(prefix): value for name, value in self.tensors.items() if name.startswith(prefix)}


def write_version(folder: Path, version: Version) -> None:
    """Write the files into an existing empty folder, the manifest last, and fill in their hashes."""
    contents = {
        METHODS: safetensors.torch.save({name: value.contiguous() for name, value in version.tensors.items()}),
        GOLDEN: json_bytes(version.golden.to_dict()),
    }
    for name, content in contents.items():
        write_bytes(folder / name, content)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    write_bytes(folder / MANIFEST, sealed(replace(version.manifest, files=hashes).to_dict()))
    sync_folder(folder)


def sealed(fields: Mapping[str, Any]) -> bytes:
    """The manifest's fields as JSON, with the sha256 of that JSON as one more field."""
    return json_bytes({**fields, "sha256": hashlib.sha256(json_bytes(fields)).hexdigest()})


def read_version(folder: Path) -> Version:
    """Read and verify. Raises CheckpointError when a file is missing, damaged or not the one the manifest names."""
    manifest = read_manifest(folder)
    if manifest.files.keys() != {METHODS, GOLDEN}:
        raise CheckpointError(f"{folder}: manifest names the files {sorted(manifest.files)}")
    contents = {name: _verified(folder / name, sha256) for name, sha256 in manifest.files.items()}
    try:
        tensors = safetensors.torch.load(contents[METHODS])
    except SafetensorError as error:
        raise CheckpointError(f"{folder / METHODS}: {error}") from error
    return Version(manifest=manifest, tensors=tensors, golden=Golden.from_json(contents[GOLDEN]))


def read_manifest(folder: Path) -> Manifest:
    """Raises CheckpointError when the manifest is missing, of another format, or not what was written."""
    path = folder / MANIFEST
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{folder}: no readable {MANIFEST}: {error}") from error
    return Manifest.from_json(_unsealed(path, content))


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_bytes(state: Mapping[str, Tensor]) -> bytes:
    """A state dict as safetensors, names sorted, so that equal weights give equal bytes and one hash."""
    content: bytes = safetensors.torch.save({name: state[name].detach().cpu().contiguous() for name in sorted(state)})
    return content


def _unsealed(path: Path, content: bytes) -> bytes:
    """The manifest without its own hash, which is checked; what is no sealed JSON is left to `Manifest` to refuse."""
    seal = SEAL.search(content)
    if seal is not None:  # as written: no need to format 60 kB of JSON anew, which a live swap would wait for
        bare = content[: seal.start()] + content[seal.end() :]
        if hashlib.sha256(bare).hexdigest().encode() == seal[1]:
            return bare
    try:
        fields = json.loads(content)
        sha256 = fields.pop("sha256")
        bare = json_bytes(fields)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return content
    if hashlib.sha256(bare).hexdigest() != sha256:
        raise CheckpointError(f"{path} does not have the sha256 that it names: the file was changed or damaged")
    return bare


def _verified(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} is missing or unreadable: {error}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise CheckpointError(f"{path} has sha256 {found}, the manifest says {sha256}: the file was changed or damaged")
    return content
