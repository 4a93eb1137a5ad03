"""The step of a layer study beside what it has to be better than, all on the part to report on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, Self

import torch
from torch import Tensor

from models.calibration.temperature import Temperature
from models.core.method import Dimensions
from models.core.outputs import ModelOutputs
from models.language.direction import control_edits
from models.language.edits import Edits
from models.language.layer_study_part import Progress, ReadPart
from models.language.layer_study_step import Swept
from models.language.layers import BINS
from models.metrics.bootstrap import bootstrap_interval
from models.metrics.calibration import expected_calibration_error, maximum_calibration_error
from models.metrics.calibration_bootstrap import calibration_intervals

NOTHING, TEMPERATURE, DIRECTION, BOTH = "nothing", "temperature", "direction", "direction_then_temperature"
RANDOM = "random"
GAINS = ((TEMPERATURE, NOTHING), (DIRECTION, NOTHING), (DIRECTION, RANDOM), (DIRECTION, TEMPERATURE))
RESAMPLES = 200  # of a gain; Ours


@dataclass(frozen=True, slots=True)
class Judged:
    """Confidence (N,) and whether the answer is right (N,), on the CPU."""

    confidence: Tensor
    correct: Tensor

    @classmethod
    def of(cls, log_probabilities: Tensor, labels: Tensor) -> Self:
        confidence, predicted = log_probabilities.cpu().exp().max(dim=1)
        return cls(confidence, predicted == labels.cpu())

    def figures(self) -> dict[str, float]:
        return {
            "ece": expected_calibration_error(self.confidence, self.correct, bins=BINS),
            "mce": maximum_calibration_error(self.confidence, self.correct, bins=BINS),
            "accuracy": float(self.correct.double().mean()),
            "confidence": float(self.confidence.double().mean()),
        }

    def record(self, seed: int) -> dict[str, Any]:
        ece = calibration_intervals(self.confidence, self.correct, bins=BINS, seed=seed)["ece"]
        return self.figures() | {"ece": asdict(ece)}


def fitted_temperature(outputs: ModelOutputs, labels: Tensor) -> Temperature:
    sizes = Dimensions(outputs.logits.shape[1], outputs.require_features().shape[1])
    return Temperature(sizes).fit(outputs, labels.to(outputs.logits.device))


def judged_alone(part: ReadPart, temperature: Temperature) -> dict[str, list[Judged]]:
    """The model as it is, and with a temperature."""
    own = part.answers()
    return {
        NOTHING: [Judged.of(own.log_probabilities(), part.labels)],
        TEMPERATURE: [_cooled(own, temperature, part.labels)],
    }


def judged_under(
    part: ReadPart, swept: Swept, temperature: Temperature, seed: int, progress: Progress
) -> dict[str, list[Judged]]:
    """With the step and its controls, all in one pass: RANDOM has one entry a direction, the others have one.

    `temperature` was fitted after the step.
    """
    layer, step = swept.chosen.layer, swept.chosen.step
    edits = {DIRECTION: swept.direction.edits(layer, [step])} | control_edits(swept.direction, layer, step, seed)
    what = "the step and its controls, on rows that were not fitted"
    answers = iter(part.answers_under(layer, _joined(list(edits.values())), progress, what))
    found = {name: [next(answers) for _ in range(len(each))] for name, each in edits.items()}
    judged = {
        name: [Judged.of(each.log_probabilities(), part.labels) for each in group] for name, group in found.items()
    }
    return judged | {BOTH: [_cooled(found[DIRECTION][0], temperature, part.labels)]}


def comparison(judged: Mapping[str, Sequence[Judged]], seed: int) -> dict[str, Any]:
    """Way → its figures, the interval of ECE among them; of RANDOM the mean and the ends over its directions."""
    alone = {name: found[0].record(seed) for name, found in judged.items() if name != RANDOM}
    return alone | ({RANDOM: _spread(judged[RANDOM])} if RANDOM in judged else {})


def gains(judged: Mapping[str, Sequence[Judged]], seed: int) -> list[dict[str, Any]]:
    """By how much the ECE of one way is lower than that of another on the same rows; of RANDOM its mean counts."""
    return [
        {"of": less, "against": more} | _gain(judged[less], judged[more], seed)
        for less, more in GAINS
        if less in judged and more in judged
    ]


def _cooled(outputs: ModelOutputs, temperature: Temperature, labels: Tensor) -> Judged:
    return Judged.of(temperature.transform(outputs).calibrated_log_probabilities(), labels)


def _joined(edits: Sequence[Edits]) -> Edits:
    return Edits(*(torch.cat([getattr(each, name) for each in edits]) for name in ("vectors", "steps", "removed")))


def _spread(judged: Sequence[Judged]) -> dict[str, Any]:
    figures = [each.figures() for each in judged]
    columns = {name: [each[name] for each in figures] for name in figures[0]}
    spread = {
        name: {"mean": fmean(values), "lowest": min(values), "highest": max(values)} for name, values in columns.items()
    }
    return {"directions": len(judged), **spread}


def _gain(less: Sequence[Judged], more: Sequence[Judged], seed: int) -> dict[str, float]:
    confidence, correct = (
        torch.stack([getattr(each, name) for each in (*less, *more)], dim=1) for name in ("confidence", "correct")
    )

    def lower_by(sure: Tensor, right: Tensor) -> float:
        eces = [expected_calibration_error(sure[:, k], right[:, k], bins=BINS) for k in range(sure.shape[1])]
        return fmean(eces[len(less) :]) - fmean(eces[: len(less)])

    return asdict(bootstrap_interval(lower_by, confidence, correct, resamples=RESAMPLES, seed=seed))
