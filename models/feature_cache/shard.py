"""One shard: consecutive rows as one `.npy` file a column, and `bad.json`. It is there whole or not at all."""

import json
import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from models.core.atomic import write_json
from models.core.errors import DataError, StaleCacheError
from models.feature_cache.forward import Computed
from models.feature_cache.row_format import RowFormat

BAD = "bad.json"
FEWEST_ROWS, MOST_ROWS = 64, 16_384
MOST_SHARDS = 512


def shard_rows(total: int) -> int:
    """Rows of each shard but the last, out of `total`: a multiple of 64, so that there are 256 to 512 shards.

    Small sets have fewer shards, of 64 rows; huge ones more, of 16,384.
    """
    wanted = -(-total // MOST_SHARDS)
    return min(MOST_ROWS, -(-wanted // FEWEST_ROWS) * FEWEST_ROWS)


@dataclass(frozen=True, slots=True)
class Shard:
    """Memory maps of n rows, read-only; rows that are not `readable` hold zeros, and `bad` says why."""

    columns: dict[str, NDArray[Any]]  # (n, …) each
    readable: NDArray[np.bool_]  # (n,)
    bad: dict[int, str]


def open_shard(folder: Path, rows: int, layout: RowFormat) -> Shard:
    """Raises StaleCacheError unless every file is there, whole, and of this many rows and this format."""
    try:
        columns = {name: _mapped(folder / f"{name}.npy", rows, *kind) for name, kind in layout.columns.items()}
        bad = {int(place): str(reason) for place, reason in json.loads((folder / BAD).read_bytes())}
    except (OSError, ValueError, TypeError) as error:
        raise StaleCacheError(f"{folder} is not what was written: {error}") from error
    readable = np.ones(rows, np.bool_)
    readable[list(bad)] = False
    return Shard(columns, readable, bad)


def _mapped(path: Path, rows: int, kind: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    found: NDArray[Any] = np.load(path, mmap_mode="r")
    if found.shape != (rows, *shape) or found.dtype != kind:
        raise ValueError(f"{path.name} holds {found.dtype} {found.shape}, not {kind} {(rows, *shape)}")
    return found


class ShardWriter:
    """Writes the rows of a shard into an empty folder as they come, so that only a batch of them is in memory."""

    def __init__(self, folder: Path, rows: int, layout: RowFormat) -> None:
        self.folder, self.rows, self.layout = folder, rows, layout
        self._done = 0
        self._bad: list[tuple[int, str]] = []
        self._files: dict[str, IO[bytes]] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with self._open as opened:
            for name, (kind, shape) in self.layout.columns.items():
                file = opened.enter_context((self.folder / f"{name}.npy").open("xb"))
                header = {"descr": kind.str, "fortran_order": False, "shape": (self.rows, *shape)}
                np.lib.format.write_array_header_1_0(file, header)
                self._files[name] = file
            self._open = opened.pop_all()
        return self

    def append(self, found: Computed) -> None:
        """The next rows. Raises DataError for features that are too large for float16."""
        columns = {"features": found.features, "losses": found.losses, "logits": found.logits}
        arrays = {name: tensor.numpy() for name, tensor in columns.items()} | {"labels": found.labels[found.readable]}
        if found.gradients is not None:
            arrays["energies"] = found.gradients.energies.numpy()
        for name, file in self._files.items():
            file.write(self._spread(name, arrays.get(name), found.readable).tobytes())
        self._bad += [(self._done + place, reason) for place, reason in found.bad.items()]
        self._done += len(found.readable)

    def finish(self) -> None:
        """Make all of it durable."""
        if self._done != self.rows:
            raise ValueError(f"a shard of {self.rows} rows got {self._done}")
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        write_json(self.folder / BAD, self._bad)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _spread(self, name: str, values: NDArray[Any] | None, readable: NDArray[np.bool_]) -> NDArray[Any]:
        kind, shape = self.layout.columns[name]
        spread = np.zeros((len(readable), *shape), kind)
        if values is not None and len(values):
            if kind == np.float16 and float(np.abs(values).max()) > float(np.finfo(np.float16).max):
                raise DataError(f"{name} of up to {np.abs(values).max():.3g} do not fit into float16: store float32")
            spread[readable] = values
        return spread
