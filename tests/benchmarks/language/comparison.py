"""The calibration direction, its controls and temperature on the same questions, with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.calibration.temperature import Temperature
from models.core.method import Dimensions
from models.core.outputs import ModelOutputs
from models.language.causal_lm import CausalLM
from models.language.direction import CalibrationDirection, SweepPoint, control_edits, edited_outputs
from models.language.edits import Edits
from models.language.layers import BINS, layer_outputs
from models.language.next_token import NextTokenQuestions
from models.metrics.bootstrap import Interval, bootstrap_interval
from models.metrics.calibration import expected_calibration_error, maximum_calibration_error
from models.metrics.calibration_bootstrap import calibration_intervals
from tests.benchmarks.epistemic.tables import Table
from tests.benchmarks.language.mmlu import SEED

NONE, DIRECTION, TEMPERATURE, BOTH = "nothing", "direction", "temperature", "direction, then temperature"
OPPOSITE, ABLATED, RANDOM = "opposite direction", "direction ablated", "20 random directions, mean"


@dataclass(frozen=True, slots=True)
class Part:
    """One split: its questions, the places of the right choices, and the residual stream after each layer."""

    questions: NextTokenQuestions
    labels: Tensor
    states: Tensor


@dataclass(frozen=True, slots=True)
class Judged:
    """Confidence and whether the answer is right, (N,) each."""

    confidence: Tensor
    correct: Tensor

    @classmethod
    def of(cls, log_probabilities: Tensor, labels: Tensor) -> "Judged":
        confidence, predicted = log_probabilities.exp().max(dim=1)
        return cls(confidence, predicted == labels)

    def ece(self) -> float:
        return expected_calibration_error(self.confidence, self.correct, bins=BINS)

    def row(self) -> list[str]:
        ece = calibration_intervals(self.confidence, self.correct, bins=BINS)["ece"]
        accuracy = bootstrap_interval(mean_of, self.correct)
        mce = maximum_calibration_error(self.confidence, self.correct, bins=BINS)
        return [told(ece), f"{mce:.3f}", told(accuracy), f"{float(self.confidence.mean()):.3f}"]


def compared(
    model: CausalLM, fit: Part, report: Part, direction: CalibrationDirection, chosen: SweepPoint
) -> dict[str, list[Judged]]:
    """On the report split; `RANDOM` has one entry a direction, the others have one."""
    edits = {DIRECTION: direction.edits(chosen.layer, [chosen.step])}
    edits |= control_edits(direction, chosen.layer, chosen.step, SEED)
    answers = iter(edited_outputs(model, report.questions, chosen.layer, joined(list(edits.values()))))
    changed = {name: [next(answers) for _ in range(len(each))] for name, each in edits.items()}
    judged = {
        name: [Judged.of(each.log_probabilities(), report.labels) for each in found] for name, found in changed.items()
    }
    own, own_fit = (_last(model, each) for each in (report, fit))
    moved_fit = edited_outputs(model, fit.questions, chosen.layer, edits[DIRECTION])[0]
    return {
        NONE: [Judged.of(own.log_probabilities(), report.labels)],
        TEMPERATURE: [_cooled(own_fit, fit.labels, own, report.labels)],
        DIRECTION: judged[DIRECTION],
        BOTH: [_cooled(moved_fit, fit.labels, changed[DIRECTION][0], report.labels)],
        OPPOSITE: judged["opposite"],
        ABLATED: judged["ablated"],
        RANDOM: judged["random"],
    }


def joined(edits: Sequence[Edits]) -> Edits:
    """All of them in one pass."""
    return Edits(*(torch.cat([getattr(each, name) for each in edits]) for name in ("vectors", "steps", "removed")))


def _last(model: CausalLM, found: Part) -> ModelOutputs:
    return next(layer_outputs(model, found.states[-1:], found.questions.tokens))


def _cooled(fit: ModelOutputs, fit_labels: Tensor, report: ModelOutputs, labels: Tensor) -> Judged:
    method = Temperature(Dimensions(fit.logits.shape[1], report.features.shape[1])).fit(fit, fit_labels)
    return Judged.of(method.transform(report).calibrated_log_probabilities(), labels)


def comparison_table(judged: Mapping[str, Sequence[Judged]]) -> Table:
    rows = {name: found[0].row() for name, found in judged.items() if name != RANDOM}
    random = [judge.ece() for judge in judged[RANDOM]]
    rows[RANDOM] = [
        f"{sum(random) / len(random):.3f} ({min(random):.3f} to {max(random):.3f})",
        "",
        f"{mean_of(torch.stack([judge.correct for judge in judged[RANDOM]])):.3f}",
        f"{mean_of(torch.stack([judge.confidence for judge in judged[RANDOM]])):.3f}",
    ]
    return Table("Direction and controls on test", "way", ["ECE (95 %)", "MCE", "accuracy (95 %)", "confidence"], rows)


def gain(judged: Mapping[str, Sequence[Judged]]) -> Interval:
    """By how much the direction's ECE is lower than the mean of the random ones."""
    confidence, correct = (
        torch.stack([getattr(judge, name) for judge in [judged[DIRECTION][0], *judged[RANDOM]]], dim=1)
        for name in ("confidence", "correct")
    )

    def statistic(sure: Tensor, right: Tensor) -> float:
        eces = [expected_calibration_error(sure[:, k], right[:, k], bins=BINS) for k in range(sure.shape[1])]
        return sum(eces[1:]) / len(eces[1:]) - eces[0]

    return bootstrap_interval(statistic, confidence, correct, resamples=200)


def mean_of(values: Tensor) -> float:
    return float(values.double().mean())


def told(interval: Interval) -> str:
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"
