"""Text generation on one thread, which owns the running answers of every served version.

Each version's answers step together, versions take turns. One that serves no longer goes on until its answers are
whole. Every answer that was admitted is finished or gets an error, whatever fails.
"""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Sequence

from app.errors import HowsureError, InternalError, NotReadyError, QueueFullError
from app.scoring.answer_stream import AnswerStream, Written
from app.scoring.cores import Cores
from app.scoring.pace import Pace
from app.scoring.prompt_predictor import PromptPredictor
from app.scoring.running_answers import Asked, RunningAnswers
from app.settings import Settings
from app.telemetry import Metrics
from models.core.device import use_cores
from models.language.generation.decoding import Prompt

log = logging.getLogger("howsure.generation")

NOT_WHOLE = "the server shut down before this answer was whole"
LONGEST_WAIT = 60  # seconds that a caller is told to wait at most


class Generation:
    """What the routes know of text generation."""

    def __init__(self, settings: Settings, metrics: Metrics, cores: Cores) -> None:
        self._settings = settings
        self._metrics = metrics
        self._cores = cores
        self._new: list[tuple[PromptPredictor, Asked]] = []
        self._running: dict[PromptPredictor, RunningAnswers] = {}  # the thread's own
        self._streams: set[AnswerStream] = set()
        self._changed = threading.Condition()
        self._admitted = 0  # answers that are new, wait or grow
        self._closing = False
        self._ended: HowsureError | None = None
        self._pace = Pace()
        self._paced_at = 0.0  # when an answer was last whole, or the first began
        self._thread = threading.Thread(target=self._loop, name="howsure-generation", daemon=True)
        cores.share(self)

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._ended is None and self._thread.is_alive()

    @property
    def admitted(self) -> int:
        """Answers in the house: waiting or growing."""
        return self._admitted

    def check_room(self, answers: int = 1) -> None:
        """Raises QueueFullError or NotReadyError if `ask` would."""
        if self._ended is not None:
            raise NotReadyError(self._ended.detail)
        if self._closing or not self.alive:
            reason = "the server is shutting down" if self._closing else "the generation thread is not running"
            raise NotReadyError(reason)
        if self._admitted + answers > (capacity := self._settings.queue_items):
            seconds = self._seconds_until_room(answers)
            raise QueueFullError(f"the queue of {capacity} answers is full; try again in {seconds} s", seconds)

    def ask(self, predictor: PromptPredictor, prompts: Sequence[Prompt]) -> AnswerStream:
        """The answers to prompts that `fitted` made, numbered prompt by prompt. The caller closes the stream.

        Raises QueueFullError or NotReadyError.
        """
        answers = sum(prompt.count for prompt in prompts)
        with self._changed:
            self.check_room(answers)
            stream = AnswerStream(answers, self._settings.answer_seconds)
            first = 0
            for prompt in prompts:
                self._new.append((predictor, Asked(prompt, stream, first)))
                first += prompt.count
            self._admitted += answers
            self._streams.add(stream)
            self._changed.notify_all()
        return stream

    def end_within(self, seconds: float) -> None:
        """Finish what is there, but give what is not whole by then an error: later its caller would be cut off."""
        timer = threading.Timer(seconds, self._end, [NotReadyError(NOT_WHOLE)])
        timer.daemon = True  # what is whole sooner must not keep the process from ending
        timer.start()

    async def close(self) -> None:
        """Refuse new prompts, finish what is there within the drain time; then the rest gets an error."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, self._settings.drain_seconds)
        self._end(NotReadyError(NOT_WHOLE))

    def _loop(self) -> None:
        try:
            while self._take_new():
                self._go_on()
        except BaseException as error:
            log.critical("generation thread died", exc_info=error, extra={"event": "generation_thread_died"})
            self._end(InternalError("the generation thread died; the server must be restarted"))

    def _take_new(self) -> bool:
        """Waits until there is something to do; False when there is nothing to come."""
        with self._changed:
            while not (self._new or self._running or self._closing):
                self._changed.wait()
            if self._ended is not None or (self._closing and not (self._new or self._running)):
                return False
            new, self._new = self._new, []
            self._streams = {stream for stream in self._streams if not stream.gone}
        if not self._running:
            self._paced_at = time.perf_counter()
        for predictor, asked in new:
            if predictor not in self._running:
                budget = self._settings.cached_tokens
                self._running[predictor] = RunningAnswers(predictor.pipeline, budget)
            self._running[predictor].ask(asked)
        return True

    def _go_on(self) -> None:
        """One token further with every version."""
        before = self._count()
        use_cores(self._cores.for_batch(self._admitted))
        written = []
        for predictor, answers in list(self._running.items()):
            answers.drop_gone()
            written += self._step(answers)
            if not answers.answers:
                del self._running[predictor]
        if finished := before - self._count():
            now = time.perf_counter()
            self._pace.observe(finished, now - self._paced_at)
            self._paced_at = now
        with self._changed:
            self._admitted = self._count() + sum(asked.prompt.count for _, asked in self._new)
        AnswerStream.write(written)  # only now: who has a whole answer may ask again at once

    def _step(self, answers: RunningAnswers) -> list[tuple[AnswerStream, Written]]:
        started = time.perf_counter()
        try:
            return answers.step()
        except Exception as error:
            log.error("generation failed", exc_info=error, extra={"event": "generation_failed"})
            return answers.fail(InternalError("the model failed on this batch of prompts"))
        finally:
            self._metrics.stage.labels("generation_step").observe(time.perf_counter() - started)

    def _count(self) -> int:
        return sum(answers.answers for answers in self._running.values())

    def _seconds_until_room(self, answers: int) -> int:
        excess = self._admitted + answers - self._settings.queue_items
        return min(LONGEST_WAIT, max(1, math.ceil(excess * self._pace.seconds)))

    def _end(self, error: HowsureError) -> None:
        """Tell everything that is there, or still to come, `error`; to a whole answer it comes too late."""
        with self._changed:
            self._closing = True
            self._ended = self._ended or error
            self._changed.notify_all()
        AnswerStream.write((stream, error) for stream in self._streams)
