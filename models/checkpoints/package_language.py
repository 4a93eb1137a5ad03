"""A language model put together from what ships (tokenizer, configuration) and weights out of an installed package.

Reading a tokenizer out of a GGUF file takes ten seconds, and its bytes would depend on the release of the library.
"""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from models.core.atomic import write_bytes
from models.core.errors import CheckpointError
from models.core.manifest import BackboneRecord, WeightsOrigin
from models.core.package_file import find_packaged, packaged_file
from models.core.store import CheckpointStore
from models.language.conversion import WEIGHTS, weights_of


def is_installed(record: BackboneRecord) -> bool:
    """Whether the package with the weights is there."""
    return record.origin is not None and find_packaged(record.origin) is not None


def add_packaged_language(
    store: CheckpointStore, origin: WeightsOrigin | None, files: Path, expected: str | None = None
) -> str:
    """Into the store, unless what is `expected` is there; returns the sha256 of the whole. `files` are those that ship.

    Raises CheckpointError when it is not the expected one, or no package is named that the weights come from.
    """
    if expected is not None and store.has_language_folder(expected):
        return expected
    if origin is None:
        raise CheckpointError(f"{files.name}: the manifest names no package that the weights come from")
    store.root.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=store.root) as folder:
        whole = Path(folder) / "whole"
        shutil.copytree(files, whole)
        write_bytes(whole / WEIGHTS, weights_of(packaged_file(origin)))
        return store.add_language_folder(whole, expected=expected)
