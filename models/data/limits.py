"""What reading labelled data may cost. Every size is checked before memory is taken for it."""

from collections.abc import Callable
from dataclasses import dataclass

MiB = 2**20


def _go_on() -> None:
    pass


@dataclass(frozen=True, slots=True)
class DataLimits:
    """Sizes are bytes. `between_rows` is called again and again while data is read; what it raises ends the reading."""

    rows: int = 2_000_000
    unpacked_bytes: int = 8 * 2**30  # of a whole archive, after decompression
    ratio: float = 200.0  # unpacked over packed; deflate reaches 1,030 on zeros, photographs stay near 1
    item_bytes: int = 64 * MiB  # one image file
    line_bytes: int = 4 * MiB  # one row of a table: 21,841 logits and 2,048 features are 0.5 MiB
    between_rows: Callable[[], None] = _go_on

    @property
    def members(self) -> int:
        """Files in an archive: one a row, and some beside them."""
        return self.rows + 10_000

    def packed_well(self, packed: int, unpacked: int) -> bool:
        """Whether so much compression is still believable; small files may compress to next to nothing."""
        return unpacked <= max(16 * MiB, self.ratio * packed)
