"""Golden rows: made-up inputs and the answers a version gave when it was published; re-scored before it may serve."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.core.errors import CheckpointError
from models.core.input_spec import InputSpec

# Allowed relative distance from the stored answers. bfloat16 kernels add up in another order on another processor: the
# largest distance seen for the shipped checkpoint between AVX2 and AVX512 kernels was .031, in its epistemic score.
TOLERANCE = {"float32": 0.002, "bfloat16": 0.05}

GOLDEN_SEEDS = (1, 2, 3, 4)


@dataclass(frozen=True, slots=True)
class GoldenRow:
    """The answer for one golden input."""

    confidence: float
    scores: dict[str, float]


@dataclass(frozen=True, slots=True)
class Golden:
    """Seeds of the inputs, and for each precision one row a seed."""

    seeds: tuple[int, ...]
    rows: dict[str, tuple[GoldenRow, ...]]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        try:
            found = json.loads(text)
            rows = {name: tuple(GoldenRow(**row) for row in rows) for name, rows in found["rows"].items()}
            return cls(seeds=tuple(found["seeds"]), rows=rows)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CheckpointError(f"golden.json is not readable: {error!r}") from error

    def check(self, precision: str, answers: Sequence[GoldenRow]) -> float:
        """Largest distance as a share of the tolerance. Raises CheckpointError when it is over 1."""
        if precision not in self.rows or len(self.rows[precision]) != len(answers):
            raise CheckpointError(f"golden.json has no rows for precision {precision}")
        tolerance = TOLERANCE[precision]
        worst = 0.0
        for seed, stored, answer in zip(self.seeds, self.rows[precision], answers, strict=True):
            share = distance(stored, answer) / tolerance
            if not share <= 1:
                raise CheckpointError(
                    f"golden input {seed} gave {answer} in {precision}, the version was published with {stored}"
                    f" (tolerance {tolerance}): the weights, the code or the processor changed the result"
                )
            worst = max(worst, share)
        return worst


def distance(stored: GoldenRow, answer: GoldenRow) -> float:
    """Largest of |log ratio| of the confidences and the scores' differences, relative to scores larger than 1."""
    if stored.scores.keys() != answer.scores.keys():
        raise CheckpointError(f"golden scores {sorted(stored.scores)} against {sorted(answer.scores)}")
    if not answer.confidence > 0 or any(math.isnan(value) for value in answer.scores.values()):
        return math.inf
    relative = [abs(value - answer.scores[name]) / max(1.0, abs(value)) for name, value in stored.scores.items()]
    return max(abs(math.log(stored.confidence / answer.confidence)), *relative, 0.0)


def golden_pixels(spec: InputSpec, seeds: Sequence[int]) -> NDArray[np.uint8]:
    """(N, height, width, 3): coloured blocks from a hash stream, so equal on every platform and library version."""
    return np.stack([_blocks(spec, seed) for seed in seeds])


def _blocks(spec: InputSpec, seed: int, cells: int = 7) -> NDArray[np.uint8]:
    stream = hashlib.shake_256(f"howsure golden {seed}".encode()).digest(cells * cells * 3)
    grid = np.frombuffer(stream, dtype=np.uint8).reshape(cells, cells, 3)
    rows = np.arange(spec.height) * cells // spec.height
    columns = np.arange(spec.width) * cells // spec.width
    return grid[rows][:, columns]
