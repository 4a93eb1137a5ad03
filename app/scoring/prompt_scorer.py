"""The online path of prompts with choices: admit → read in threads → batch by tokens → predict → one outcome an input.

It has a batcher of its own beside that of images; the two share the cores, see `cores.py`.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from app.errors import HowsureError, InvalidError, TimedOutError
from app.scoring.asked import Form, check_sort, read_scores
from app.scoring.batcher import Batcher, Reservation
from app.scoring.cores import Cores
from app.scoring.predictor import Prediction
from app.scoring.prompt_intake import PromptInput, read_prompt
from app.scoring.prompt_predictor import PromptPrediction, PromptPredictor, PromptWork
from app.scoring.prompt_slice import ScoredSlice, check_slice, read_slice
from app.scoring.token_budget import fitting
from app.settings import Settings
from app.telemetry import Metrics
from app.uncertainty_order import most_uncertain_first
from models.answers import FloatRows
from models.core.device import model_threads
from models.core.prompt_spec import Readout
from models.language.pipeline import LanguagePipeline


@dataclass(frozen=True, slots=True)
class ScoredPrompt:
    """The answer for one prompt. `tokens` went through the network for it alone; a batch may have shared some.

    `calibrated` is False where the version has no calibrator for this readout, and `embedding` (D,) is None where it
    has no recalibrator of slices for it. `slice_confidence` is its chance of being right as one of a slice.
    """

    prediction: Prediction
    calibrated: bool
    readout: Readout
    tokens: int
    embedding: FloatRows | None = field(default=None, repr=False)
    slice_confidence: float | None = None


PromptOutcome = ScoredPrompt | HowsureError


@dataclass(frozen=True, slots=True)
class ScoredPrompts:
    """Outcomes in the order of the inputs; `order` has their rows as they are to be shown.

    `slice` is there where it was asked for.
    """

    outcomes: tuple[PromptOutcome, ...]
    order: Sequence[int]
    slice: ScoredSlice | None = None


@dataclass(frozen=True, slots=True)
class PromptsAsked:
    """What a request wants of every prompt, to be read in the first of `readouts` that an item allows."""

    predictor: PromptPredictor
    readouts: tuple[Readout, ...]
    scores: tuple[str, ...]
    top_k: int
    cheap: bool


class PromptScorer:
    """What the routes know of prompts with choices."""

    def __init__(self, settings: Settings, metrics: Metrics, cores: Cores) -> None:
        self.settings = settings
        self.metrics = metrics
        self.cores = cores
        self.readers = ThreadPoolExecutor(max(2, settings.cores), thread_name_prefix="howsure-read")
        self.batcher: Batcher[PromptWork, PromptPrediction] = Batcher(
            run=self._predict,
            group=lambda work: (work.predictor, work.readout),
            max_batch=settings.max_items,
            max_wait=settings.max_wait_ms / 1000,
            capacity=settings.queue_items,
            threads=model_threads(settings.device, settings.cores),
            fitting=lambda works: fitting(works, settings.batch_tokens),
            observe=self._observe_batch,
        )
        cores.share(self.batcher)

    async def score(
        self,
        predictor: PromptPredictor,
        prompts: Sequence[PromptInput],
        *,
        scores: Sequence[str] | None,
        top_k: int,
        timings: dict[str, float],
        readout: Readout | None = None,
        sort: str | None = None,
        as_slice: bool = False,
    ) -> ScoredPrompts:
        """Score every prompt; a bad one gets its error in its place. `scores` None means all that the version has.

        `readout` None is the version's own, or TEXT for an item whose choices cannot be read so. `sort` names the score
        by which the most uncertain come first, None keeps the order of the inputs. `as_slice` reads the curve of all
        prompts together, which changes no outcome.

        Raises a HowsureError that concerns the whole request: unknown score, no slice, no room in the queue, time up.
        Cancelling the call drops what has not run yet.
        """
        asked = _asked(predictor, readout, scores, top_k, sort)
        if as_slice:
            check_slice(predictor, len(prompts), readout)
        try:
            async with asyncio.timeout(self.settings.request_seconds):
                with self.batcher.reserve(len(prompts)) as room:
                    started = time.perf_counter()
                    outcomes = await asyncio.gather(*(self._score_one(room, each, asked, timings) for each in prompts))
                    timings["score"] = time.perf_counter() - started
        except TimeoutError:
            raise TimedOutError(f"no answer within {self.settings.request_seconds:g} s") from None
        self._count(predictor, outcomes)
        found = ScoredPrompts(tuple(outcomes), _order(outcomes, sort))
        return _as_slice(predictor, found) if as_slice else found

    async def close(self) -> None:
        """Finish what is in flight within the drain time, then stop the threads."""
        await self.batcher.close(self.settings.drain_seconds)
        self.readers.shutdown(wait=False, cancel_futures=True)

    async def _score_one(
        self,
        room: Reservation[PromptWork, PromptPrediction],
        given: PromptInput,
        asked: PromptsAsked,
        timings: dict[str, float],
    ) -> PromptOutcome:
        started = time.perf_counter()
        try:
            work = await asyncio.get_running_loop().run_in_executor(self.readers, self._read, given, asked)
        except HowsureError as error:
            room.withdraw()
            return error
        timings["tokenise"] = max(timings.get("tokenise", 0.0), time.perf_counter() - started)
        try:
            found = await room.submit(work)
        except HowsureError as error:
            return error
        return ScoredPrompt(found.prediction, found.calibrated, work.readout, work.tokens, found.embedding)

    def _read(self, given: PromptInput, asked: PromptsAsked) -> PromptWork:
        language = asked.predictor.pipeline.language
        _check_task(given, asked.predictor.pipeline)
        found = read_prompt(given, language, asked.readouts, self.settings)
        return PromptWork(
            predictor=asked.predictor,
            item=found.item,
            tokens=found.tokens,
            prompt=found.prompt,
            readout=found.readout,
            task=given.task,
            scores=asked.scores,
            top_k=asked.top_k,
            cheap=asked.cheap,
        )

    def _predict(self, batch: list[PromptWork]) -> list[PromptPrediction]:
        return batch[0].predictor.predict(batch, cores=self.cores.for_batch(len(batch)))

    def _observe_batch(self, size: int, waited: float, ran: float) -> None:
        self.metrics.batch.observe(size)
        self.metrics.stage.labels("prompt_queue").observe(waited)
        self.metrics.stage.labels("prompt_model").observe(ran)

    def _count(self, predictor: PromptPredictor, outcomes: Sequence[PromptOutcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, ScoredPrompt):
                self.metrics.items.labels(predictor.model, "scored").inc()
                self.metrics.confidence.labels(predictor.model).observe(outcome.prediction.confidence)
            else:
                self.metrics.items.labels(predictor.model, outcome.code).inc()


def _check_task(given: PromptInput, pipeline: LanguagePipeline) -> None:
    """A misspelt task would be answered by another temperature. A subject is none that a version has to know."""
    tasks = pipeline.prompts.tasks
    if tasks and given.task not in (None, given.subject, *tasks):
        raise InvalidError(f"no task {given.task!r}; there are {', '.join(tasks)}: leave it out for any other")


def _asked(
    predictor: PromptPredictor, readout: Readout | None, scores: Sequence[str] | None, top_k: int, sort: str | None
) -> PromptsAsked:
    forms = read_scores(predictor.model, predictor.forms, scores)
    check_sort(predictor.model, predictor.forms, tuple(forms), sort)
    own = predictor.pipeline.prompts.readout
    readouts = (own, Readout.TEXT) if readout is None else (readout,)
    return PromptsAsked(predictor, readouts, tuple(forms), top_k, cheap=Form.FAST not in forms.values())


def _as_slice(predictor: PromptPredictor, scored: ScoredPrompts) -> ScoredPrompts:
    """The same outcomes, those that are part of the slice with their chances."""
    read = {
        row: (outcome.prediction.confidence, outcome.embedding)
        for row, outcome in enumerate(scored.outcomes)
        if isinstance(outcome, ScoredPrompt) and outcome.embedding is not None
    }
    found = read_slice(predictor, read, len(scored.outcomes))
    outcomes = (
        replace(outcome, slice_confidence=found.confidences.get(row)) if isinstance(outcome, ScoredPrompt) else outcome
        for row, outcome in enumerate(scored.outcomes)
    )
    return replace(scored, outcomes=tuple(outcomes), slice=found)


def _order(outcomes: Sequence[PromptOutcome], sort: str | None) -> Sequence[int]:
    if sort is None:
        return range(len(outcomes))
    return most_uncertain_first(
        [it.prediction.uncertainty[sort] if isinstance(it, ScoredPrompt) else None for it in outcomes]
    )
