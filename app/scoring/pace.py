"""How long a form of a score takes, learned from the batches that had it."""

import threading

NEWEST = 0.2  # share of the newest batch in the estimate
FADING = 0.99


class Pace:
    """A smoothed estimate of the seconds an item; for several threads."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._lock = threading.Lock()

    @property
    def seconds(self) -> float:
        """Of one item; 0 before a batch was observed."""
        return self._seconds

    def observe(self, items: int, seconds: float) -> None:
        """A batch of so many items took so long."""
        with self._lock:
            an_item = seconds / items
            self._seconds = (1 - NEWEST) * self._seconds + NEWEST * an_item if self._seconds else an_item

    def at_least(self, seconds: float) -> None:
        """An item takes longer than this."""
        with self._lock:
            self._seconds = max(self._seconds, seconds)

    def fits(self, items: int, seconds: float) -> bool:
        """Whether so many items should be done in so much time; before a batch was observed any time at all will do.

        Each no lowers the estimate a little, or one slow batch could keep the form away for good.
        """
        if seconds <= 0:
            return False
        with self._lock:
            fitting = self._seconds * items <= seconds
            if not fitting:
                self._seconds *= FADING
            return fitting
