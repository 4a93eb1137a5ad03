"""The prompts of one request as a slice: how sure to be of them together, by the version's few-shot recalibrator.

It reads what the pass that scored them left, and changes nothing of any of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import torch

from app.errors import InvalidError
from app.scoring.prompt_predictor import PromptPredictor
from models.answers import FloatRows
from models.core.prompt_spec import Readout
from models.language.few_shot_recalibration import FewShotRecalibrator, read_curves


@dataclass(frozen=True, slots=True)
class ScoredSlice:
    """`curve` (10,) has the chance of being right at confidences 0, 1/9, ..., 1; `confidences` are those chances of
    the items that are part of the slice, by row."""

    curve: tuple[float, ...]
    confidences: Mapping[int, float]

    @property
    def mean_confidence(self) -> float:
        """The share of the slice that is expected to be right."""
        return sum(self.confidences.values()) / len(self.confidences)


def check_slice(predictor: PromptPredictor, prompts: int, readout: Readout | None) -> None:
    """Before `prompts` with choices are scored as a slice. Raises InvalidError where it could not be read."""
    own, shown = predictor.pipeline.prompts.readout, _recalibrator(predictor).shown
    if readout not in (None, own):
        _refuse(f"slices of this version are of choices read as {own}: leave the readout out")
    if prompts < shown:
        _refuse(f"a slice is read from at least {shown} prompts with choices, and here are {prompts}: send more of it")


def read_slice(predictor: PromptPredictor, read: Mapping[int, tuple[float, FloatRows]], prompts: int) -> ScoredSlice:
    """Confidence and embedding (D,) by row, of those of the `prompts` that were read as the version was fitted for.

    Raises InvalidError where they are too few.
    """
    recalibrator = _recalibrator(predictor)
    if len(read) < recalibrator.shown:
        own = predictor.pipeline.prompts.readout
        _refuse(
            f"a slice is read from at least {recalibrator.shown} prompts, and {len(read)} of {prompts} could be scored"
            f" with their choices read as {own}: leave slice out to see which, and send more that can"
        )
    confidences = torch.tensor([confidence for confidence, _ in read.values()])
    curve = recalibrator.curve(confidences, torch.from_numpy(np.stack([embedding for _, embedding in read.values()])))
    chances = read_curves(curve, confidences).tolist()
    return ScoredSlice(tuple(curve.tolist()), dict(zip(read, chances, strict=True)))


def _recalibrator(predictor: PromptPredictor) -> FewShotRecalibrator:
    found = predictor.pipeline.few_shot
    if found is None:
        _refuse(
            f"version {predictor.version} of {predictor.model} has no recalibrator of slices: leave slice out, or fit"
            " one with a job calibrate, method few_shot"
        )
    return found


def _refuse(detail: str) -> NoReturn:
    raise InvalidError(detail, errors=[{"pointer": "/slice", "detail": detail}])
