"""Stage two: the exact form of a score for the most doubtful items, on a thread and a core of its own.

Whatever keeps an exact value away (no room, no time, a fault, a shutdown) leaves the item the value that it has; its
`form` says which one that is.
"""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from app.errors import HowsureError, NotReadyError, QueueFullError
from app.scoring.asked import Asked, Form, TimeLimits
from app.scoring.batcher import Batcher
from app.scoring.predictor import ExactValue, Prediction, Predictor, ScoreValue
from app.telemetry import Metrics

log = logging.getLogger("howsure.refine")

NOTHING_DONE = 2.0  # times the seconds that were not enough for one item: what it is taken to need
REQUESTS = 16  # that wait or run: more could hardly have their turn within the usual budget

Outcome = Prediction | HowsureError


@dataclass(frozen=True, slots=True, eq=False)
class ExactWork:
    """The images of one request, most doubtful first, on their way through the exact lane."""

    predictor: Predictor
    score: str
    pixels: NDArray[np.uint8]
    limits: TimeLimits
    begun: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> bool:
        """Whether the budget is spent, or nobody waits any more."""
        return self.left.is_set() or time.monotonic() >= self.limits.ends

    def run(self) -> list[ExactValue | None]:
        self.begun.set()
        started = time.perf_counter()
        found = self.predictor.exact(self.score, self.pixels, self.stop)
        if len(found) != len(self.pixels):
            raise RuntimeError(f"{len(self.pixels)} images gave {len(found)} exact values")
        if not self.left.is_set():
            self._learn(len(found) - found.count(None), time.perf_counter() - started)
        return found

    def hopeless(self) -> bool:
        """Whether not even one item would be done in time: with many classes it takes minutes."""
        return not self.predictor.exact_pace.fits(1, self.limits.ends - time.monotonic())

    def _learn(self, done: int, seconds: float) -> None:
        if done:
            self.predictor.exact_pace.observe(done, seconds)
        else:
            self.predictor.exact_pace.at_least(NOTHING_DONE * seconds)


class Refiner:
    """The exact lane, one request at a time in the order they come; its thread starts with the first of them."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.lane: Batcher[ExactWork, list[ExactValue | None]] = Batcher(
            run=lambda batch: [work.run() for work in batch],
            group=lambda work: work.predictor,
            max_batch=1,
            max_wait=0,
            capacity=REQUESTS,
        )
        self._started = False
        metrics.exact_lane.set_function(lambda: self.lane.admitted)

    async def refine(
        self, predictor: Predictor, outcomes: Sequence[Outcome], asked: Asked, timings: dict[str, float]
    ) -> tuple[Outcome, ...]:
        """`outcomes` with exact values where they could be had; raises nothing but a cancellation."""
        refined = list(outcomes)
        for score in asked.exact:
            rows = most_doubtful(refined, score)[: asked.exact_top]
            if rows:
                started = time.perf_counter()
                found, outcome = await self._values(predictor, score, _pixels(refined, rows), asked.limits)
                _put(refined, rows, score, found, _note(outcome, predictor))
                timings["exact"] = timings.get("exact", 0.0) + time.perf_counter() - started
                self.metrics.stage.labels("exact").observe(time.perf_counter() - started)
        return tuple(refined)

    async def close(self, timeout: float) -> None:
        """Let what waits have its turn within its budget; after `timeout` seconds the rest goes without."""
        if self._started:
            await self.lane.close(timeout)

    async def _values(
        self, predictor: Predictor, score: str, pixels: NDArray[np.uint8], limits: TimeLimits
    ) -> tuple[list[ExactValue | None], str]:
        work = ExactWork(predictor, score, pixels, limits)
        found: list[ExactValue | None] = [None] * len(pixels)
        outcome = "out_of_time"
        try:
            found = await self._in_lane(work) or found
            outcome = "out_of_time" if None in found else "complete"
        except QueueFullError:
            outcome = "lane_full"
        except NotReadyError:
            outcome = "not_ready"
        except HowsureError:  # the lane has logged its cause
            outcome = "failed"
            fields = {"event": "exact_failed", "model": predictor.model, "version": predictor.version, "score": score}
            log.error("exact form failed, the items keep the form they have", extra=fields)
        except asyncio.CancelledError:
            outcome = "client_gone"
            raise
        finally:
            work.left.set()
            self.metrics.exact.labels(predictor.model, outcome).inc()
        return found, outcome

    async def _in_lane(self, work: ExactWork) -> list[ExactValue | None] | None:
        """None where its turn cannot or did not come, or one backward pass did not end, in time."""
        if work.hopeless():
            return None
        self._start()
        with self.lane.reserve(1) as room:
            future = room.submit(work)
            try:
                await asyncio.wait({future}, timeout=max(0.0, work.limits.ends - time.monotonic()))
                if work.begun.is_set() and not future.done():
                    await asyncio.wait({future}, timeout=max(0.0, work.limits.latest - time.monotonic()))
                return future.result() if future.done() else None
            finally:
                future.cancel()

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self.lane.start()


def most_doubtful(outcomes: Sequence[Outcome], score: str) -> list[int]:
    """Rows of the scored items, the highest percentile of `score` first; equal ones by value."""
    scored = [(row, it.uncertainty[score]) for row, it in enumerate(outcomes) if isinstance(it, Prediction)]
    return [row for row, _ in sorted(scored, key=lambda entry: _doubt(entry[1]), reverse=True)]


def _doubt(score: ScoreValue) -> tuple[float, float]:
    return (score.percentile or 0.0, score.value)


def _pixels(outcomes: Sequence[Outcome], rows: Sequence[int]) -> NDArray[np.uint8]:
    kept = [it.pixels for it in (outcomes[row] for row in rows) if isinstance(it, Prediction) and it.pixels is not None]
    return np.stack(kept)


def _put(
    outcomes: list[Outcome], rows: Sequence[int], score: str, found: Sequence[ExactValue | None], note: str
) -> None:
    for row, exact in zip(rows, found, strict=True):
        prediction = outcomes[row]
        if isinstance(prediction, Prediction):
            value = replace(prediction.uncertainty[score], note=note)
            if exact is not None and math.isfinite(exact[0]):
                value = replace(value, value=exact[0], percentile=exact[1], form=Form.EXACT, note=None)
            outcomes[row] = replace(prediction, uncertainty={**prediction.uncertainty, score: value})


def _note(outcome: str, predictor: Predictor) -> str:
    """Why an item has no exact value."""
    if outcome == "out_of_time":
        seconds = predictor.exact_pace.seconds
        known = (
            f", which takes about {max(seconds, 0.1):.{0 if seconds >= 1 else 1}f} s an image here" if seconds else ""
        )
        return f"no time for the exact form{known}"
    return {
        "lane_full": "no room for the exact form: too many requests wait for theirs",
        "not_ready": "no exact form: the server is shutting down",
    }.get(outcome, "the exact form failed; the server's log has the reason")
