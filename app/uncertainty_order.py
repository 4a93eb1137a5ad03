"""The one order of items by how uncertain they are, for the server's replies and for the command's many of them."""

from collections.abc import Sequence
from typing import Protocol


class Doubt(Protocol):
    """One uncertainty score of one item: a higher `value` or `percentile` is more uncertain."""

    @property
    def value(self) -> float: ...

    @property
    def percentile(self) -> float | None: ...

    @property
    def form(self) -> str | None: ...


def most_uncertain_first(scores: Sequence[Doubt | None]) -> list[int]:
    """Rows of the items, of one score each; those without one, which failed, are last. Equal ones stay in order.

    Values of several forms do not compare, so a mixture goes by percentile.
    """
    found = [(row, score) for row, score in enumerate(scores) if score is not None]
    mixed = len({score.form for _, score in found}) > 1
    found.sort(key=lambda entry: _mixed(entry[1]) if mixed else (entry[1].value,), reverse=True)
    return [row for row, _ in found] + [row for row, score in enumerate(scores) if score is None]


def _mixed(score: Doubt) -> tuple[float, ...]:
    if score.percentile is not None:
        return (score.percentile, score.value)
    # Within a request the most doubtful items have the exact form first. Of others without one nothing can be said.
    return (1.0 if score.form == "exact" else -1.0, score.value)
