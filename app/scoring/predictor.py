"""One loaded checkpoint version: pixels of a batch in, predictions out. Runs on the model threads."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from app.errors import InternalError
from app.scoring.asked import Asked, Form
from app.scoring.pace import Pace
from models.answers import Answers
from models.core.device import use_cores
from models.core.manifest import Manifest
from models.core.method import GradientScore
from models.core.report import calibration_summary
from models.pipeline import Pipeline

ExactValue = tuple[float, float | None]


@dataclass(frozen=True, slots=True)
class ScoreValue:
    """`value` in the score's own unit, higher is more uncertain; `percentile` among the reference set; `kind`.

    `form` is None for a score that has only one; `percentile` is None where no reference is of the form. `note` says
    why the form is not the one that was asked for.
    """

    value: float
    percentile: float | None
    kind: str
    form: Form | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one input. `top` holds (class index, calibrated probability), most probable first.

    `pixels` are kept where an exact score is still to come. `embedding` is the (D,) float32 input of the network's last
    linear layer, for an item that asked for it.
    """

    class_index: int
    confidence: float
    raw_confidence: float
    top: tuple[tuple[int, float], ...]
    uncertainty: Mapping[str, ScoreValue]
    pixels: NDArray[np.uint8] | None = field(default=None, compare=False, repr=False)
    embedding: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Work:
    """One input on its way through the batcher."""

    predictor: "Predictor"
    pixels: NDArray[np.uint8]
    asked: Asked


class Predictor:
    """Immutable but for what it learns of its own pace; a reply names its `version`.

    `forms` has a score's forms, dearest first.
    """

    def __init__(self, model: str, version: int, manifest: Manifest, pipeline: Pipeline) -> None:
        self.model = model
        self.version = version
        self.manifest = manifest
        self.pipeline = pipeline
        self.fast_pace = Pace()
        self.exact_pace = Pace()
        self.forms = {name: self._forms_of(name) for name in pipeline.scores}
        self.calibration = calibration_summary(manifest.report, pipeline.network.precision)

    def predict(self, batch: list[Work], cores: int) -> list[Prediction]:
        """One forward pass on so many cores of a CPU, or two where only some items get their scores fast.

        Each item gets the scores that it asked for.
        """
        use_cores(cores)
        fast = self._fast(batch)
        passes = {
            which: iter(self._pass([work for work, its in zip(batch, fast, strict=True) if its is which], which))
            for which in set(fast)
        }
        return [next(passes[which]) for which in fast]

    def exact(self, name: str, pixels: NDArray[np.uint8], stop: Callable[[], bool]) -> list[ExactValue | None]:
        """Value and percentile of each of (N, height, width, 3) images on one core; None for what `stop` cut off."""
        use_cores(1)
        return self.pipeline.exact(name, pixels, stop)

    def warm_up(self, max_batch: int, cores: int) -> None:
        """Run every batch that can come once, so that no caller pays for kernels being made for a new shape."""
        network = self.pipeline.network
        spec = network.input_spec
        # A compiled network is another one than that which gives gradients.
        two = network.gradients is not None and network.gradients.trunk is not network.trunk
        for size, width, cheap in product(range(1, max_batch + 1), {1, cores}, {False, two}):
            use_cores(width)
            pixels = np.zeros((size, spec.height, spec.width, 3), np.uint8)
            self.pipeline.answer(pixels, self.pipeline.scores, cheap=cheap)

    def _fast(self, batch: Sequence[Work]) -> list[bool]:
        """For each item whether its scores come fast; one without such a score goes with those that have them."""
        # Asked once a request: its items have one form, and each no changes the estimate.
        answers = {
            id(work.asked): self._wants_fast(work, len(batch)) for work in {id(w.asked): w for w in batch}.values()
        }
        wanted = [answers[id(work.asked)] for work in batch]
        return [True in wanted if its is None else its for its in wanted]

    def _wants_fast(self, work: Work, items: int) -> bool | None:
        if not any(Form.FAST in self.forms[name] for name in work.asked.scores):
            return None
        return not work.asked.last_layer and self.fast_pace.fits(items, work.asked.limits.ends - time.monotonic())

    def _pass(self, batch: list[Work], fast: bool) -> list[Prediction]:
        started = time.perf_counter()
        scores = [name for name in self.pipeline.scores if any(name in work.asked.scores for work in batch)]
        top_k = max(work.asked.top_k for work in batch)
        features = any(work.asked.embed for work in batch)
        pixels = np.stack([work.pixels for work in batch])
        answers = self.pipeline.answer(pixels, scores, top_k, cheap=not fast, features=features)
        if fast:
            self.fast_pace.observe(len(batch), time.perf_counter() - started)
        return [self._prediction(answers, row, work) for row, work in enumerate(batch)]

    def _prediction(self, answers: Answers, row: int, work: Work) -> Prediction:
        if not math.isfinite(answers.confidence[row]):
            raise InternalError("the network gave no finite probabilities for this image")
        return Prediction(
            class_index=int(answers.class_index[row]),
            confidence=float(answers.confidence[row]),
            raw_confidence=float(answers.raw_confidence[row]),
            top=tuple(
                zip(
                    answers.top_index[row, : work.asked.top_k].tolist(),
                    answers.top_probability[row, : work.asked.top_k].tolist(),
                    strict=True,
                )
            ),
            uncertainty={name: self._score_value(answers, row, name) for name in work.asked.scores},
            pixels=work.pixels if work.asked.exact else None,
            # A copy: a view would keep the whole batch's features alive.
            embedding=answers.features[row].copy() if work.asked.embed and answers.features is not None else None,
        )

    def _score_value(self, answers: Answers, row: int, name: str) -> ScoreValue:
        values, percentiles = answers.scores[name]
        kind = self.pipeline.scores[name].score.kind.value
        form = Form(answers.forms[name]) if self.forms[name] else None
        return ScoreValue(float(values[row]), float(percentiles[row]), kind, form)

    def _forms_of(self, name: str) -> tuple[Form, ...]:
        found = {
            Form.EXACT: name in self.pipeline.exact_scores,
            Form.FAST: name in self.pipeline.fast_scores,
            Form.LAST_LAYER: isinstance(self.pipeline.scores[name].score, GradientScore),
        }
        return tuple(form for form, there in found.items() if there)
