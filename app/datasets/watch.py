"""Ends a long check from outside: a thread cannot be killed, but it can be asked between two rows."""

import time

from app.errors import TimedOutError


class Watch:
    """Called between rows. Raises TimedOutError once the time is up, or after `stop`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.until = time.monotonic() + seconds

    def __call__(self) -> None:
        if time.monotonic() > self.until:
            raise TimedOutError(
                f"the data could not be checked within {self.seconds:g} s: upload it in parts, or raise"
                " HOWSURE_DATASET_CHECK_SECONDS"
            )

    def stop(self) -> None:
        """Nobody waits for the answer any more."""
        self.until = 0.0
