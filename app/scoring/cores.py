"""The cores of a CPU, which the model threads of one server share."""

from typing import Protocol


class Lane(Protocol):
    """Where items are admitted and answered."""

    @property
    def admitted(self) -> int: ...


class Cores:
    """All of them go to a batch while nothing else is in the house, one to each while there is more."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._lanes: list[Lane] = []

    def share(self, lane: Lane) -> None:
        """Count what is in this lane from now on."""
        self._lanes.append(lane)

    def for_batch(self, items: int) -> int:
        """How many a batch of so many items may use."""
        return self.count if sum(lane.admitted for lane in self._lanes) <= items else 1
