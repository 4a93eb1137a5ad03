"""The calibration direction, its controls and the calibrators of logits on the same questions, with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.calibration import CALIBRATORS
from models.calibration.temperature import Temperature
from models.core.method import Calibrator, Dimensions
from models.core.outputs import ModelOutputs, Needs
from models.language.causal_lm import CausalLM
from models.language.direction import CalibrationDirection, control_edits
from models.language.edits import Edits
from models.language.layers import BINS
from models.metrics.bootstrap import Interval, bootstrap_interval
from models.metrics.calibration import expected_calibration_error, maximum_calibration_error
from models.metrics.calibration_bootstrap import calibration_intervals
from tests.benchmarks.epistemic.tables import Table
from tests.benchmarks.language.mmlu import SEED
from tests.benchmarks.language.parts import Part
from tests.benchmarks.language.sweeping import Swept, answers_under

NONE, DIRECTION, TEMPERATURE, BOTH = "nothing", "direction", "temperature", "direction, then temperature"
OPPOSITE, ABLATED, RANDOM = "opposite direction", "direction ablated", "20 random directions, mean"
CONTROLS = (OPPOSITE, ABLATED, RANDOM)


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

    def row(self, before: "Judged") -> list[str]:
        ece = calibration_intervals(self.confidence, self.correct, bins=BINS)["ece"]
        mce = bootstrap_interval(_mce, self.confidence, self.correct)
        change = bootstrap_interval(mean_of, self.correct.double() - before.correct.double())
        return [
            told(ece),
            told(mce),
            f"{mean_of(self.correct):.3f}",
            "" if self is before else told(change, "+.3f"),
            f"{mean_of(self.confidence):.3f}",
        ]


def calibrated(model: CausalLM, fit: Part, report: Part) -> dict[str, list[Judged]]:
    """The model as it is, and with each registered calibrator that reads logits alone; on the report split."""
    own, own_fit = (each.answers(model) for each in (report, fit))
    kinds = {name: kind for name, kind in CALIBRATORS.items() if kind.needs is Needs.LOGITS}
    return {NONE: [Judged.of(own.log_probabilities(), report.labels)]} | {
        name: [_fitted(kind, own_fit, fit.labels, own, report.labels)] for name, kind in kinds.items()
    }


def directed(
    model: CausalLM, fit: Part, report: Part, direction: CalibrationDirection, found: Swept
) -> dict[str, list[Judged]]:
    """With the step that the sweep chose, and its controls; `RANDOM` has one entry a direction, the others have one."""
    layer, step = found.chosen.layer, found.chosen.step
    edits = {DIRECTION: direction.edits(layer, [step])} | control_edits(direction, layer, step, SEED)
    answers = iter(answers_under(model, report, layer, joined(list(edits.values()))))
    changed = {name: [next(answers) for _ in range(len(each))] for name, each in edits.items()}
    judged = {
        name: [Judged.of(each.log_probabilities(), report.labels) for each in found] for name, found in changed.items()
    }
    return {
        DIRECTION: judged[DIRECTION],
        BOTH: [_fitted(Temperature, found.answers, fit.labels, changed[DIRECTION][0], report.labels)],
        OPPOSITE: judged["opposite"],
        ABLATED: judged["ablated"],
        RANDOM: judged["random"],
    }


def joined(edits: Sequence[Edits]) -> Edits:
    """All of them in one pass."""
    return Edits(*(torch.cat([getattr(each, name) for each in edits]) for name in ("vectors", "steps", "removed")))


def _fitted(
    kind: type[Calibrator], fit: ModelOutputs, fit_labels: Tensor, report: ModelOutputs, labels: Tensor
) -> Judged:
    method = kind(Dimensions(fit.logits.shape[1], report.require_features().shape[1])).fit(fit, fit_labels)
    return Judged.of(method.transform(report).calibrated_log_probabilities(), labels)


def comparison_table(judged: Mapping[str, Sequence[Judged]]) -> Table:
    (before,) = judged[NONE]
    rows = {name: found[0].row(before) for name, found in judged.items() if name != RANDOM}
    if RANDOM in judged:
        rows[RANDOM] = _random_row(judged[RANDOM])
    columns = ["ECE (95 %)", "MCE (95 %)", "accuracy", "change of accuracy (95 %)", "confidence"]
    return Table("Calibrators, direction and controls on the report split", "way", columns, rows)


def _random_row(judged: Sequence[Judged]) -> list[str]:
    eces, mces = [judge.ece() for judge in judged], [_mce(judge.confidence, judge.correct) for judge in judged]
    spread = [f"{sum(each) / len(each):.3f} ({min(each):.3f} to {max(each):.3f} of them)" for each in (eces, mces)]
    means = [mean_of(torch.stack([getattr(judge, name) for judge in judged])) for name in ("correct", "confidence")]
    return [*spread, f"{means[0]:.3f}", "", f"{means[1]:.3f}"]


def gain(judged: Mapping[str, Sequence[Judged]], less: str, more: str) -> Interval:
    """By how much the ECE of `less` is lower than that of `more`, on the same rows; the mean where there are many."""
    parts = (judged[less], judged[more])
    confidence, correct = (
        torch.stack([getattr(judge, name) for each in parts for judge in each], dim=1)
        for name in ("confidence", "correct")
    )

    def statistic(sure: Tensor, right: Tensor) -> float:
        eces = [expected_calibration_error(sure[:, k], right[:, k], bins=BINS) for k in range(sure.shape[1])]
        first, second = eces[: len(parts[0])], eces[len(parts[0]) :]
        return sum(second) / len(second) - sum(first) / len(first)

    return bootstrap_interval(statistic, confidence, correct, resamples=200)


def mean_of(values: Tensor) -> float:
    return float(values.double().mean())


def told(interval: Interval, form: str = ".3f") -> str:
    value, low, high = (format(each, form) for each in (interval.value, interval.low, interval.high))
    return f"{value} ({low} to {high})"


def _mce(confidence: Tensor, correct: Tensor) -> float:
    return maximum_calibration_error(confidence, correct, bins=BINS)
