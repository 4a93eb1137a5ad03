"""The online path on one screen: admit → decode in threads → batch → predict → refine → one outcome an input, in order.

Stage two, in `refine.py`, is for requests that ask for the exact form of a score.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from app.errors import HowsureError, PayloadTooLargeError, TimedOutError
from app.scoring.asked import Asked, Form, TimeLimits, check_exact_top, check_sort, embedding_scores, read_scores
from app.scoring.batcher import Batcher, Reservation
from app.scoring.catalog import Catalog
from app.scoring.cores import Cores
from app.scoring.intake import ImageInput, Limits, decode
from app.scoring.predictor import Prediction, Predictor, Work
from app.scoring.refine import Outcome, Refiner
from app.settings import Settings
from app.telemetry import Metrics
from app.uncertainty_order import most_uncertain_first
from models.core.device import model_threads


@dataclass(frozen=True, slots=True)
class Scored:
    """Outcomes in the order of the inputs, all by one version; `order` has their rows as they are to be shown."""

    predictor: Predictor
    outcomes: tuple[Outcome, ...]
    order: Sequence[int]


class Scorer:
    """The only class of the online path that the routes know."""

    def __init__(self, settings: Settings, catalog: Catalog, metrics: Metrics, cores: Cores | None = None) -> None:
        """`cores` are those that other batchers of the process use too."""
        self.settings = settings
        self.catalog = catalog
        self.metrics = metrics
        self.cores = cores or Cores(settings.cores)
        self.limits = Limits(settings.max_image_bytes, settings.max_image_pixels)
        self.decoders = ThreadPoolExecutor(max(2, settings.cores), thread_name_prefix="howsure-decode")
        self.batcher: Batcher[Work, Prediction] = Batcher(
            run=self._predict,
            group=lambda work: work.predictor,
            max_batch=settings.max_batch,
            max_wait=settings.max_wait_ms / 1000,
            capacity=settings.queue_items,
            threads=model_threads(settings.device, settings.cores),
            observe=self._observe_batch,
        )
        self.refiner = Refiner(metrics)
        self.cores.share(self.batcher)
        self.cores.share(self.refiner.lane)

    async def score(
        self,
        images: Sequence[ImageInput],
        *,
        model: str | None,
        scores: Sequence[str] | None,
        top_k: int,
        timings: dict[str, float],
        exact_top: int | None = None,
        budget_ms: int | None = None,
        sort: str | None = None,
        embed: bool = False,
    ) -> Scored:
        """Score every image; a bad one gets its error in its place. `scores` None means all that the version has.

        An entry of `scores` may name a form, as in `epistemic:exact`; `exact_top` is how many items get that form, None
        all. What `budget_ms`, else the settings' time, is too short for comes in a cheaper form. `sort` names the score
        by which the most uncertain come first, None keeps the order of the inputs. `embed` asks for embeddings, and
        where no scores are named for the one that says how far to trust them.

        Raises a HowsureError that concerns the whole request: unknown model or score, too many items, no room in the
        queue, time up. Cancelling the call drops what has not run yet.
        """
        predictor = self.catalog.get(model)
        if embed and scores is None:
            scores = embedding_scores(predictor.forms)
        asked = replace(self._asked(predictor, scores, top_k, exact_top, budget_ms), embed=embed)
        check_sort(predictor.model, predictor.forms, asked.scores, sort)
        if len(images) > self.settings.max_items:
            raise PayloadTooLargeError(f"{len(images)} images in a request, at most {self.settings.max_items} allowed")
        try:
            async with asyncio.timeout(self.settings.request_seconds):
                with self.batcher.reserve(len(images)) as room:
                    started = time.perf_counter()
                    fast = await asyncio.gather(
                        *(self._score_one(room, image, predictor, asked, timings) for image in images)
                    )
                    timings["score"] = time.perf_counter() - started
                outcomes = await self.refiner.refine(predictor, fast, asked, timings)
        except TimeoutError:
            raise TimedOutError(f"no answer within {self.settings.request_seconds:g} s") from None
        self._count(predictor, outcomes)
        return Scored(predictor, outcomes, _order(outcomes, sort))

    async def close(self) -> None:
        """Finish what is in flight within the drain time, then stop the threads."""
        seconds = self.settings.drain_seconds
        await asyncio.gather(self.batcher.close(seconds), self.refiner.close(seconds))
        self.decoders.shutdown(wait=False, cancel_futures=True)

    async def _score_one(
        self,
        room: Reservation[Work, Prediction],
        image: ImageInput,
        predictor: Predictor,
        asked: Asked,
        timings: dict[str, float],
    ) -> Outcome:
        started = time.perf_counter()
        loop = asyncio.get_running_loop()
        spec = predictor.pipeline.network.input_spec
        try:
            pixels = await loop.run_in_executor(self.decoders, decode, image, spec, self.limits)
        except HowsureError as error:
            room.withdraw()
            return error
        timings["decode"] = max(timings.get("decode", 0.0), time.perf_counter() - started)
        try:
            return await room.submit(Work(predictor, pixels, asked))
        except HowsureError as error:
            return error

    def _asked(
        self,
        predictor: Predictor,
        scores: Sequence[str] | None,
        top_k: int,
        exact_top: int | None,
        budget_ms: int | None,
    ) -> Asked:
        forms = read_scores(predictor.model, predictor.forms, scores)
        check_exact_top(forms, exact_top)
        return Asked(
            scores=tuple(forms),
            top_k=top_k,
            limits=TimeLimits.of(self.settings, budget_ms),
            last_layer=not {Form.EXACT, Form.FAST} & set(forms.values()),
            exact=tuple(name for name, form in forms.items() if form is Form.EXACT),
            exact_top=exact_top,
        )

    def _predict(self, batch: list[Work]) -> list[Prediction]:
        return batch[0].predictor.predict(batch, cores=self.cores.for_batch(len(batch)))

    def _observe_batch(self, size: int, waited: float, ran: float) -> None:
        self.metrics.batch.observe(size)
        self.metrics.stage.labels("queue").observe(waited)
        self.metrics.stage.labels("model").observe(ran)

    def _count(self, predictor: Predictor, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Prediction):
                self.metrics.items.labels(predictor.model, "scored").inc()
                self.metrics.confidence.labels(predictor.model).observe(outcome.confidence)
                self._count_forms(predictor, outcome)
            else:
                self.metrics.items.labels(predictor.model, outcome.code).inc()

    def _count_forms(self, predictor: Predictor, prediction: Prediction) -> None:
        for name, score in prediction.uncertainty.items():
            if score.form is not None:
                self.metrics.forms.labels(predictor.model, name, score.form).inc()


def _order(outcomes: Sequence[Outcome], sort: str | None) -> Sequence[int]:
    if sort is None:
        return range(len(outcomes))
    return most_uncertain_first([it.uncertainty[sort] if isinstance(it, Prediction) else None for it in outcomes])
