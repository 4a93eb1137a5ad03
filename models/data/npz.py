"""Arrays of an .npz from a stranger: never pickled, headers checked against sizes, mapped instead of loaded."""

import math
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from models.core.errors import DataError
from models.data.labels import Label
from models.data.limits import DataLimits
from models.data.spool import spool
from models.data.zip_members import READ_ERRORS, ZipMembers

HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class Npz:
    """`names` are the arrays in it. Raises DataError for what is unsafe, damaged, or no .npz."""

    def __init__(self, path: Path, limits: DataLimits) -> None:
        self.path = path
        self.limits = limits
        self.members = ZipMembers(path, limits)
        self.names = tuple(name.removesuffix(".npy") for name in self.members.sizes)

    def array(self, *names: str) -> NDArray[Any]:
        """The one array that goes by any of these names, as a read-only map of an unlinked file."""
        found = [name for name in names if name in self.names]
        if len(found) != 1:
            wanted, has = " or ".join(names), ", ".join(self.names) or "nothing"
            raise DataError(f"the .npz needs exactly one array named {wanted}; it has: {has}")
        with self.members.open(f"{found[0]}.npy") as stream:
            try:
                return self._mapped(stream, found[0])
            except READ_ERRORS as error:
                if isinstance(error, DataError):
                    raise
                raise DataError(f"array {found[0]} is damaged: {error}") from error

    def labels(self, rows: int) -> list[Label]:
        """Labels of so many rows: whole numbers, or names. An empty name stays empty."""
        values = self.array("label", "labels", "y")
        if values.shape != (rows,):
            raise DataError(f"the labels have shape {values.shape}, but there are {rows} rows: give one label a row")
        if values.dtype.kind == "S":
            values = np.char.decode(values, "utf-8", "replace")
        if values.dtype.kind not in "iuU":
            raise DataError(f"labels are {values.dtype}: give whole numbers (class indexes) or names")
        return [label.strip() if isinstance(label, str) else int(label) for label in values.tolist()]

    def _mapped(self, stream: IO[bytes], name: str) -> NDArray[Any]:
        shape, fortran, dtype = _header(stream, name)
        size = math.prod(shape) * dtype.itemsize
        held = self.members.sizes[f"{name}.npy"] - stream.tell()
        if size != held:
            raise DataError(f"array {name} claims shape {shape} of {dtype}, {size} bytes, but holds {held}")
        if not size:
            return np.empty(shape, dtype)  # an empty file cannot be mapped
        with spool(stream, self.path.stat().st_size, self.limits, f"array {name}") as file:
            return np.memmap(file, dtype, "r", shape=shape, order="F" if fortran else "C")


def _header(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(stream)
    if version not in HEADERS:
        raise DataError(f"array {name} has npy version {version}: save it with numpy.savez")
    try:
        shape, fortran, dtype = HEADERS[version](stream)
    except Exception as error:  # numpy reads the header as Python text: syntax, tokens, recursion, memory …
        raise DataError(f"array {name} is damaged: its header cannot be read ({type(error).__name__})") from error
    if dtype.kind not in "biufSU":
        raise DataError(f"array {name} is {dtype}: real numbers or text only, never Python objects")
    if any(size < 0 for size in shape):
        raise DataError(f"array {name} claims the impossible shape {shape}")
    return shape, fortran, dtype
