"""What is wrong with which row: collected while data is read, and summed up for people."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from models.data.labels import Label, label_counts

SHOWN = 100


@dataclass(frozen=True, slots=True)
class Inspection:
    """`bad` are (row, reason), the first 100 of `bad_count`; `labels` counts the good rows by class.

    `unreadable` names rows that a dataset offers and that turned out bad: leave them out when reading.
    """

    rows: int
    good: int
    labels: Mapping[str, int]
    bad: tuple[tuple[str, str], ...]
    bad_count: int
    unreadable: tuple[str, ...] = ()


@dataclass(slots=True)
class Findings:
    """Grows while rows are read. A million bad rows must not cost the memory of a million reasons."""

    first: list[tuple[str, str]] = field(default_factory=list)
    count: int = 0

    def add(self, row: str, reason: str) -> None:
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append((row, reason))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.first)

    def inspection(self, labels: Mapping[str, Label], unreadable: Mapping[str, str] | None = None) -> Inspection:
        """`labels` of the rows on offer by name; `unreadable` of them with reasons."""
        unreadable = unreadable or {}
        good = {name: label for name, label in labels.items() if name not in unreadable}
        bad_count = self.count + len(unreadable)
        return Inspection(
            rows=len(good) + bad_count,
            good=len(good),
            labels=label_counts(good),
            bad=(*self.first, *unreadable.items())[:SHOWN],
            bad_count=bad_count,
            unreadable=tuple(unreadable),
        )
