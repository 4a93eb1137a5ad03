"""The labelled images that a cache is of."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.core.errors import DataError


@dataclass(frozen=True, slots=True)
class ImageRows:
    """Names and labels of N images; `contents` gives the image files of some names in order, None for a damaged one."""

    names: tuple[str, ...]
    labels: NDArray[np.int64]  # (N,) class index of the model
    contents: Callable[[Sequence[str]], Iterable[bytes | None]]
    sha256: str  # of the data that they are rows of

    def __post_init__(self) -> None:
        if not self.names:
            raise DataError("there are no rows to take outputs of: give at least one")
        if self.labels.shape != (len(self.names),) or self.labels.dtype != np.int64:
            given = f"{self.labels.dtype} {self.labels.shape}"
            raise ValueError(f"labels must be int64 ({len(self.names)},), got {given}")

    @property
    def fingerprint(self) -> str:
        """sha256 over names and labels in order."""
        pairs = list(zip(self.names, self.labels.tolist(), strict=True))
        return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()
