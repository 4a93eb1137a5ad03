"""One loaded checkpoint version: pixels of a batch in, predictions out. Runs on the model thread."""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from app.errors import InternalError
from models.core.device import use_cores
from models.core.manifest import Manifest
from models.core.report import calibration_summary
from models.pipeline import Answers, Pipeline


@dataclass(frozen=True, slots=True)
class ScoreValue:
    """`value` in the score's own unit, higher is more uncertain; `percentile` among the reference set; `kind`."""

    value: float
    percentile: float
    kind: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one input. `top` holds (class index, calibrated probability), most probable first."""

    class_index: int
    confidence: float
    raw_confidence: float
    top: tuple[tuple[int, float], ...]
    uncertainty: dict[str, ScoreValue]


@dataclass(frozen=True, slots=True)
class Work:
    """One input on its way through the batcher."""

    predictor: "Predictor"
    pixels: NDArray[np.uint8]
    scores: tuple[str, ...]
    top_k: int


class Predictor:
    """Immutable; a reply names its `version`."""

    def __init__(self, model: str, version: int, manifest: Manifest, pipeline: Pipeline) -> None:
        self.model = model
        self.version = version
        self.manifest = manifest
        self.pipeline = pipeline
        self.calibration = calibration_summary(manifest.report, pipeline.network.precision)

    def predict(self, batch: list[Work], cores: int) -> list[Prediction]:
        """One forward pass on so many cores of a CPU; each item gets the scores that it asked for."""
        use_cores(cores)
        scores = [name for name in self.pipeline.scores if any(name in work.scores for work in batch)]
        answers = self.pipeline.answer(
            np.stack([work.pixels for work in batch]), scores, max(work.top_k for work in batch)
        )
        return [self._prediction(answers, row, work) for row, work in enumerate(batch)]

    def warm_up(self, max_batch: int, cores: int) -> None:
        """Run every batch that can come once, so that no caller pays for kernels being made for a new shape."""
        spec = self.pipeline.network.input_spec
        for size, width in product(range(1, max_batch + 1), {1, cores}):
            use_cores(width)
            self.pipeline.answer(np.zeros((size, spec.height, spec.width, 3), np.uint8), self.pipeline.scores)

    def _prediction(self, answers: Answers, row: int, work: Work) -> Prediction:
        if not math.isfinite(answers.confidence[row]):
            raise InternalError("the network gave no finite probabilities for this image")
        uncertainty = {}
        for name in work.scores:
            values, percentiles = answers.scores[name]
            kind = self.pipeline.scores[name].score.kind.value
            uncertainty[name] = ScoreValue(float(values[row]), float(percentiles[row]), kind)
        return Prediction(
            class_index=int(answers.class_index[row]),
            confidence=float(answers.confidence[row]),
            raw_confidence=float(answers.raw_confidence[row]),
            top=tuple(
                zip(
                    answers.top_index[row, : work.top_k].tolist(),
                    answers.top_probability[row, : work.top_k].tolist(),
                    strict=True,
                )
            ),
            uncertainty=uncertainty,
        )
