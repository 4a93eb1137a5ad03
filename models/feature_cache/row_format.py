"""What is stored of a row, and in how many bytes."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from models.backbones.prepared import PreparedNetwork
from models.core.atomic import write_json
from models.core.errors import StaleCacheError

Floats = Literal["float32", "float16"]
FORMAT = "format.json"


@dataclass(frozen=True, slots=True)
class RowFormat:
    """D features in `floats`, a label in int64 and a loss in float32; C logits and energies in float32 where stored."""

    features: int  # D
    floats: Floats
    classes: int | None = None  # C; None: logits are not stored
    depth: int | None = None  # energies of a row; None: they are not stored
    layers: int | None = None  # that the network has in all

    @classmethod
    def of(cls, network: PreparedNetwork, floats: Floats, *, logits: bool, energies: bool) -> Self:
        sizes, gradients = network.dimensions, network.gradients if energies else None
        depth, layers = (None, None) if gradients is None else (gradients.depth + 1, len(gradients.layers) + 1)
        return cls(sizes.features, floats, sizes.classes if logits else None, depth, layers)

    @property
    def columns(self) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
        """File name without ending → type and shape of one row."""
        found: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
            "features": (np.dtype(self.floats).newbyteorder("<"), (self.features,)),
            "labels": (np.dtype("<i8"), ()),
            "losses": (np.dtype("<f4"), ()),
        }
        if self.classes is not None:
            found["logits"] = (np.dtype("<f4"), (self.classes,))
        if self.depth is not None:
            found["energies"] = (np.dtype("<f4"), (self.depth,))
        return found

    @property
    def row_bytes(self) -> int:
        return sum(kind.itemsize * int(np.prod(shape, dtype=np.int64)) for kind, shape in self.columns.values())

    def settle(self, folder: Path) -> None:
        """Keep it beside the shards. Raises StaleCacheError where shards of another format lie there."""
        path = folder / FORMAT
        if not path.exists():
            write_json(path, asdict(self))
        if (found := self.read(folder)) != self:
            raise StaleCacheError(f"{folder} holds rows of the format {found}, the network gives {self}: remove it")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Raises StaleCacheError where nothing was ever stored."""
        try:
            return cls(**json.loads((folder / FORMAT).read_bytes()))
        except (FileNotFoundError, ValueError, TypeError) as error:
            raise StaleCacheError(f"{folder} has no readable {FORMAT}: fill the cache first") from error
