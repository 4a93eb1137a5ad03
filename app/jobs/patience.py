"""Wait out a database that is away: restarted, failing over, or locked."""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from app.jobs.tables import AWAY, why_away

log = logging.getLogger("howsure.jobs")

Found = TypeVar("Found")
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0


def patient(call: Callable[[], Found], stop: threading.Event) -> Found:
    """Call until the database answers, however long; raises what it raised once `stop` is set.

    Only for calls that may be made twice. There is no limit: a worker that gave up would leave its job running for
    ever in the ledger, with the engine sure that it is over.
    """
    pause = FIRST_PAUSE
    while True:
        try:
            return call()
        except AWAY as error:
            log.warning("database away", extra={"event": "database_away", "reason": why_away(error)})
            if stop.wait(pause):
                raise
            pause = min(2 * pause, LONGEST_PAUSE)
