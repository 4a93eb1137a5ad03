"""The step along the calibration direction that a layer study chooses, all of it on the part to fit on."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from models.core.outputs import ModelOutputs
from models.language.direction import STEPS, CalibrationDirection, SweepPoint, best_point, calibration_direction
from models.language.layer_study_part import Progress, ReadPart
from models.language.layers import LEAST_FALL, MOST_ACCURACY_CHANGE, CorrectionPhase, LayerFigures, layer_figures
from models.language.reading import ResidualStep


@dataclass(frozen=True, slots=True)
class Swept:
    """The direction of a phase, every step tried along it, the best of them, and what the model answers with that."""

    phase: CorrectionPhase
    direction: CalibrationDirection
    points: tuple[SweepPoint, ...]
    chosen: SweepPoint
    answers: ModelOutputs

    @property
    def step(self) -> ResidualStep | None:
        """None where no step did better than none."""
        if self.chosen.step == 0:
            return None
        length = self.chosen.step * self.direction.scale(self.chosen.layer)
        return ResidualStep(self.direction.vector, self.chosen.layer, length)

    def record(self) -> dict[str, Any]:
        """The parts of `LayerStudy.report` that tell of it."""
        chosen = {"layer": self.chosen.layer, "step": self.chosen.step}
        return {
            "phase": {"peak": self.phase.peak, "layers": list(self.phase.layers)},
            "agreement": self.direction.agreement,
            "sweep": [asdict(each.figures) | {"layer": each.layer, "step": each.step} for each in self.points],
            "step": chosen | {"length": self.step.length} if self.step else None,
        }


def swept(part: ReadPart, phase: CorrectionPhase, progress: Progress) -> Swept:
    """Every one of STEPS after the layer where ECE peaks and after the last one."""
    direction = calibration_direction(part.states.cpu(), phase)
    found: dict[SweepPoint, ModelOutputs] = {}
    for layer in (phase.peak, part.model.layers):
        what = f"{len(STEPS)} steps along the direction after layer {layer}"
        answers = part.answers_under(layer, direction.edits(layer, STEPS), progress, what)
        for step, each in zip(STEPS, answers, strict=True):
            found[SweepPoint(layer, step, layer_figures(part.model.layers, each, part.labels))] = each
    chosen = best_point(list(found))
    return Swept(phase, direction, tuple(found), chosen, found[chosen])


def why_no_phase(curve: Sequence[LayerFigures]) -> str:
    """Of a curve in which no correction phase was found."""
    peak, last = max(curve, key=lambda each: each.ece), curve[-1]
    if peak.ece - last.ece < LEAST_FALL:
        return (
            f"no correction phase found: ECE is {peak.ece:.3f} at its highest, after layer {peak.layer}, and"
            f" {last.ece:.3f} after the last one; it has to fall by {LEAST_FALL}"
        )
    return (
        "no correction phase found: while ECE falls the answers change, accuracy by more than"
        f" {MOST_ACCURACY_CHANGE} up to the last layer"
    )
