"""Takes up what becomes active in the store while the server runs. One thread looks, loads and swaps.

Requests that are under way keep the predictor that they began with, so no reply mixes two versions.
"""

import gc
import logging
import threading
import time
from dataclasses import dataclass

from app.scoring.catalog import Catalog, LoadFailure, Swap
from app.scoring.gauges import show, withdraw
from app.telemetry import Metrics
from models.core.device import use_cores

log = logging.getLogger("howsure.reload")

RETRY_SECONDS = 60.0  # for a version that could not be loaded, while its pointer stays where it is


@dataclass(frozen=True, slots=True)
class _Seen:
    stamp: tuple[int, ...]
    at: float


class Reloader:
    """Looks at the pointer files every `seconds`, and at once when asked; with 0 seconds only when asked."""

    def __init__(self, catalog: Catalog, metrics: Metrics, seconds: float) -> None:
        self.catalog = catalog
        self.metrics = metrics
        self.seconds = seconds
        self._seen: dict[str, _Seen] = {}
        self._changed = threading.Condition()
        self._asked = 0  # looks asked for so far
        self._answered = 0  # of these, how many had a whole look after them
        self._closing = False
        # A daemon: a network that is still being loaded must not keep the process from ending.
        self._thread = threading.Thread(target=self._loop, name="howsure-reload", daemon=True)

    def load(self) -> None:
        """`Catalog.load`; a pointer that moves meanwhile is noticed by the first look."""
        stamps = self.catalog.store.pointer_stamps()
        self._seen = {model: _Seen(stamp, time.monotonic()) for model, stamp in stamps.items()}
        self.catalog.load()
        for predictor in self.catalog.predictors.values():
            show(self.metrics, predictor)
        _set_aside()

    def start(self) -> None:
        self._thread.start()

    def look(self) -> None:
        """Load and swap wherever a pointer has moved, or a failure is due for another try."""
        stamps = self.catalog.store.pointer_stamps()
        networks = _networks(self.catalog)
        for model, stamp in stamps.items():
            if self._due(model, stamp):
                self._seen[model] = _Seen(stamp, time.monotonic())
                self._record(model, self.catalog.refresh(model))
        if networks != _networks(self.catalog):
            _set_aside()
        for model in self._seen.keys() - stamps.keys():
            del self._seen[model]
            self.catalog.lost(model)

    def look_now(self, timeout: float) -> None:
        """Have the thread look, for a caller that has just moved a pointer; waits until it has, at most `timeout` s."""
        with self._changed:
            self._asked += 1
            mine = self._asked
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._closing or self._answered >= mine, timeout)

    def close(self, timeout: float) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _loop(self) -> None:
        while (asked := self._wait()) is not None:
            use_cores(1)  # the others belong to the requests; warming a network up sets it anew
            try:
                self.look()
            except Exception as error:
                log.error("looking at the store failed", exc_info=error, extra={"event": "reload_failed"})
            with self._changed:
                self._answered = asked
                self._changed.notify_all()

    def _wait(self) -> int | None:
        """How many looks were asked for when it was time for one; None when closing."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._asked > self._answered, self.seconds or None)
            return None if self._closing else self._asked

    def _due(self, model: str, stamp: tuple[int, ...]) -> bool:
        seen = self._seen.get(model)
        if seen is None or seen.stamp != stamp:
            return True
        return model in self.catalog.failures and time.monotonic() - seen.at >= RETRY_SECONDS

    def _record(self, model: str, outcome: Swap | LoadFailure | None) -> None:
        if isinstance(outcome, LoadFailure):
            self.metrics.swaps.labels(model, "failed").inc()
        elif outcome is not None:
            self.metrics.swaps.labels(model, "added" if outcome.before is None else "swapped").inc()
            self.metrics.swap_duration.labels("reused" if outcome.reused else "loaded").observe(outcome.seconds)
            if outcome.before is not None:
                withdraw(self.metrics, outcome.before)
            show(self.metrics, outcome.after)


def _networks(catalog: Catalog) -> set[int]:
    return {id(predictor.pipeline.network) for predictor in catalog.predictors.values()}


def _set_aside() -> None:
    """Spare the garbage collector what stays: going through all of it stops every thread, long enough to see in p99."""
    gc.unfreeze()  # or a network that was replaced would stay for good
    gc.collect()
    gc.freeze()
