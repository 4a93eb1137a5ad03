"""One loaded version of a language model: prompts with choices in, predictions out. Runs on the model threads."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.errors import InternalError
from app.scoring.asked import Form
from app.scoring.predictor import Prediction, ScoreValue
from models.answers import FloatRows
from models.core.device import use_cores
from models.core.manifest import Manifest
from models.core.method import GradientScore
from models.core.prompt_spec import Readout
from models.core.report import calibration_summary
from models.language.continuations import EncodedItem
from models.language.pipeline import LanguagePipeline, PromptAnswers


@dataclass(frozen=True, slots=True)
class PromptWork:
    """One prompt with its choices on its way through the batcher; `tokens` is how many it has with all of them.

    `prompt` are the tokens before the choices.
    """

    predictor: "PromptPredictor"
    item: EncodedItem
    tokens: int
    prompt: NDArray[np.int64] = field(repr=False)
    readout: Readout
    task: str | None
    scores: tuple[str, ...]
    top_k: int
    cheap: bool  # scores of gradients by their last layer


@dataclass(frozen=True, slots=True)
class PromptPrediction:
    """`calibrated` is False where the version has no calibrator for the way in which the choices were read.

    `embedding` (D,) is what a recalibrator reads of an item of a slice, None where the version has none for it.
    """

    prediction: Prediction
    calibrated: bool
    embedding: FloatRows | None = field(default=None, repr=False)


class PromptPredictor:
    """Immutable; a reply names its `version`. `forms` has a score's forms, dearest first."""

    def __init__(self, model: str, version: int, manifest: Manifest, pipeline: LanguagePipeline) -> None:
        self.model = model
        self.version = version
        self.manifest = manifest
        self.pipeline = pipeline
        self.forms = {name: self._forms_of(name) for name in pipeline.scores}
        self.calibration = calibration_summary(manifest.report, pipeline.language.precision)

    def predict(self, batch: Sequence[PromptWork], cores: int) -> list[PromptPrediction]:
        """All of one readout, what they have in common computed once, on so many cores of a CPU."""
        use_cores(cores)
        readout, top_k = batch[0].readout, max(work.top_k for work in batch)
        scores = [name for name in self.pipeline.scores if any(name in work.scores for work in batch)]
        kinds = {work.cheap for work in batch}
        items, tasks = [work.item for work in batch], [work.task for work in batch]
        reading = self.pipeline.read(items, readout, tasks, gradients=False in kinds)
        found = {cheap: self.pipeline.answer_reading(reading, readout, scores, top_k, cheap=cheap) for cheap in kinds}
        return [self._prediction(found[work.cheap], row, work) for row, work in enumerate(batch)]

    def _prediction(self, found: PromptAnswers, row: int, work: PromptWork) -> PromptPrediction:
        answers = found.answers
        if not math.isfinite(answers.confidence[row]):
            raise InternalError("the model gave no finite probabilities for this prompt")
        kept = min(work.top_k, len(work.item.choices))
        top = zip(answers.top_index[row, :kept].tolist(), answers.top_probability[row, :kept].tolist(), strict=True)
        prediction = Prediction(
            class_index=int(answers.class_index[row]),
            confidence=float(answers.confidence[row]),
            raw_confidence=float(answers.raw_confidence[row]),
            top=tuple(top),
            uncertainty={name: self._score_value(found, row, name) for name in work.scores},
        )
        embedding = None if found.embeddings is None else found.embeddings[row]
        return PromptPrediction(prediction, found.calibrated, embedding)

    def _score_value(self, found: PromptAnswers, row: int, name: str) -> ScoreValue:
        values, percentiles = found.answers.scores[name]
        percentile = float(percentiles[row])
        note = None
        if math.isnan(percentile):
            missing = "percentiles and the fast form" if Form.FAST in self.forms[name] else "percentiles"
            note = f"{missing} are of choices read as {self.pipeline.prompts.readout}"
        kind = self.pipeline.scores[name].score.kind.value
        form = Form(found.answers.forms[name]) if self.forms[name] else None
        return ScoreValue(float(values[row]), None if note else percentile, kind, form, note)

    def _forms_of(self, name: str) -> tuple[Form, ...]:
        if not isinstance(self.pipeline.scores[name].score, GradientScore):
            return ()
        return (Form.FAST, Form.LAST_LAYER) if name in self.pipeline.fast_scores else (Form.LAST_LAYER,)
