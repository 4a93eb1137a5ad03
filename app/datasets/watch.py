"""Ends a long check from outside: a thread cannot be killed, but it can be asked between two rows."""

import math
import time

from app.errors import TimedOutError


class Watch:
    """Called between rows. Raises TimedOutError once the time since `start` is up, or after `stop`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._until = math.inf
        self._stopped = False

    def start(self) -> None:
        """The check begins: waiting for those of others takes none of its time."""
        self._until = time.monotonic() + self.seconds

    def __call__(self) -> None:
        if self._stopped or time.monotonic() > self._until:
            raise TimedOutError(
                f"the data could not be checked within {self.seconds:g} s: upload it in parts, or raise"
                " HOWSURE_DATASET_CHECK_SECONDS"
            )

    def stop(self) -> None:
        """Nobody waits for the answer any more."""
        self._stopped = True
