"""Splits that depend on row names and a seed alone, not on the order of the file or a random generator's version."""

import hashlib
from collections.abc import Iterable


def split(names: Iterable[str], seed: int, *sizes: int) -> tuple[tuple[str, ...], ...]:
    """Disjoint parts of the given sizes. Raises ValueError when the rows do not suffice."""
    ordered = sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    if sum(sizes) > len(ordered):
        raise ValueError(f"parts of {sizes} rows do not fit into {len(ordered)} rows")
    starts = [sum(sizes[:part]) for part in range(len(sizes))]
    return tuple(tuple(ordered[start : start + size]) for start, size in zip(starts, sizes, strict=True))


def fingerprint(names: Iterable[str]) -> str:
    """sha256 over the sorted names: equal for equal sets of rows."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()
