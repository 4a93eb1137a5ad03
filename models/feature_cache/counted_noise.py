"""Random numbers that follow from a key alone: no generator, whose stream may change with numpy's version.

SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014), counted from the key.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def uniforms(key: Sequence[int], count: int) -> NDArray[np.float64]:
    """(count,) in [0, 1)."""
    return (_words(key, count) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(key: Sequence[int], count: int) -> NDArray[np.int64]:
    """(count,): 0..count - 1 in an order of its own for each key."""
    return np.argsort(_words(key, count), kind="stable").astype(np.int64)


def _words(key: Sequence[int], count: int) -> NDArray[np.uint64]:
    state = np.zeros(1, np.uint64)
    for part in key:
        state = _mixed((state ^ np.uint64(part)) + GOLDEN)
    return _mixed(state + GOLDEN * np.arange(1, count + 1, dtype=np.uint64))


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
