"""A language model studied layer by layer (Calibration Across Layers, arXiv 2511.00280). Read `study_layers` first.

Where confidence is set right in the last layers, the direction in which they do it is found, how far to go along it,
and what that is worth beside a temperature and beside directions that mean nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from models.calibration.temperature import Temperature
from models.core.errors import UnsupportedError
from models.language.causal_lm import CausalLM
from models.language.continuations import ChoiceItem
from models.language.direction import RANDOM_DIRECTIONS, STEPS
from models.language.layer_study_comparison import (
    Judged,
    comparison,
    fitted_temperature,
    gains,
    judged_alone,
    judged_under,
)
from models.language.layer_study_part import AskedPart, Progress, ReadPart, Told
from models.language.layer_study_step import Swept, swept, why_no_phase
from models.language.layers import BINS, LayerFigures, correction_phase
from models.language.null_space import last_neurons, null_basis, null_share
from models.language.reading import ResidualStep

ENTROPY_NEURONS = 5  # Ours
CONTROLS = RANDOM_DIRECTIONS + 3  # with the step itself, the opposite one and the ablation


@dataclass(frozen=True, slots=True)
class LayerStudy:
    """`step` is None where no correction phase was found, or no step along its direction did better than none; `reason`
    then says which. `temperature` was fitted after the step, on the same rows.
    """

    precision: str
    seed: int
    rows: dict[str, int]
    curves: dict[str, tuple[LayerFigures, ...]]
    swept: Swept | None
    reason: str | None
    temperature: float
    judged: dict[str, list[Judged]]
    null_space: dict[str, Any]

    @property
    def step(self) -> ResidualStep | None:
        return self.swept.step if self.swept else None

    def report(self) -> dict[str, Any]:
        """Plain JSON. `fit` is the part that phase, step and temperature were found on, `report` the other one.

        `precision`, `seed`, `bins`, `rows` of each part;
        `curves`: of each part accuracy, confidence, ECE and MCE after every layer;
        `phase`: `peak` and `layers`, or null; `reason`: why there is no phase or no step, or null;
        `agreement`: of the changes that the direction is the mean of, 1 where all go one way; null without a phase;
        `sweep`: the figures of every step after every layer tried, on the fit part, steps in mean lengths;
        `step`: `layer`, `step` and `length` of the chosen one, or null; `temperature`: fitted after it;
        `compared`: way → ECE with its interval, MCE, accuracy and confidence, on the report part; `random` has the mean
        and the ends over so many `directions`;
        `gains`: by how much the ECE of one way is lower than that `against` it, with its interval;
        `null_space`: how many `directions` of `width` count as null, the share of the `direction` that lies in them (or
        null), that `by_chance`, and the `entropy_neurons` of the last layer, null where it has no neurons to tell.
        """
        without: dict[str, Any] = {"phase": None, "agreement": None, "sweep": [], "step": None}
        return {
            "precision": self.precision,
            "seed": self.seed,
            "bins": BINS,
            "rows": self.rows,
            "curves": {part: [asdict(each) for each in curve] for part, curve in self.curves.items()},
            **(self.swept.record() if self.swept else without),
            "reason": self.reason,
            "temperature": self.temperature,
            "compared": comparison(self.judged, self.seed),
            "gains": gains(self.judged, self.seed),
            "null_space": self.null_space,
        }


def study_layers(
    model: CausalLM,
    fit: Sequence[ChoiceItem],
    fit_labels: Tensor,
    report: Sequence[ChoiceItem],
    report_labels: Tensor,
    *,
    seed: int,
    told: Told,
) -> LayerStudy:
    """Find phase, direction, step and temperature on `fit`, and compare on `report`, which must share no row with it.

    Labels (N,) int64 are the places of the right choices. `told` hears the share of the work that is done and what is
    being done; what it raises ends the study. Equal arguments give equal studies on one machine. Raises DataError for
    an item whose choices are not one token each, or for a label that is none of them.
    """
    asked_fit, asked_report = AskedPart.of(model, fit, fit_labels), AskedPart.of(model, report, report_labels)
    progress = Progress(told, _tokens(asked_fit, len(STEPS)) + _tokens(asked_report, CONTROLS))
    fitted = ReadPart.of(model, asked_fit, progress, "the rows to fit on, layer by layer")
    reported = ReadPart.of(model, asked_report, progress, "rows that are not fitted, layer by layer")
    study = study_read_parts(fitted, reported, seed, progress)
    told(1.0, "the layers are studied")
    return study


def study_read_parts(fitted: ReadPart, reported: ReadPart, seed: int, progress: Progress) -> LayerStudy:
    """`study_layers` from the residual streams on: both parts have been read, by one model."""
    fit_curve = fitted.curve()
    phase = correction_phase(fit_curve)
    found = swept(fitted, phase, progress) if phase else None
    temperature, judged = _compared(fitted, reported, found, seed, progress)
    return LayerStudy(
        precision=fitted.model.precision,
        seed=seed,
        rows={"fit": len(fitted.labels), "report": len(reported.labels)},
        curves={"fit": fit_curve, "report": reported.curve()},
        swept=found,
        reason=_reason(fit_curve, found),
        temperature=temperature,
        judged=judged,
        null_space=_null_space(fitted.model, found),
    )


def _tokens(asked: AskedPart, changes: int) -> int:
    """Of the two passes that a part goes through."""
    return asked.tokens_under(1) + asked.tokens_under(changes)


def _compared(
    fitted: ReadPart, reported: ReadPart, found: Swept | None, seed: int, progress: Progress
) -> tuple[float, dict[str, list[Judged]]]:
    """The temperature to serve, and every way on the part to report on."""
    alone = fitted_temperature(fitted.answers(), fitted.labels)
    judged = judged_alone(reported, alone)
    if found is None or found.step is None:
        return _value(alone), judged
    after = fitted_temperature(found.answers, fitted.labels)
    return _value(after), judged | judged_under(reported, found, after, seed, progress)


def _value(temperature: Temperature) -> float:
    return float(temperature.state()["temperature"])


def _reason(curve: Sequence[LayerFigures], found: Swept | None) -> str | None:
    if found is None:
        return why_no_phase(curve)
    if found.step is None:
        return "no step along the direction has a lower ECE than none, at the same accuracy"
    return None


def _null_space(model: CausalLM, found: Swept | None) -> dict[str, Any]:
    basis = null_basis(model)
    count = basis.shape[1]
    return {
        "directions": count,
        "width": model.width,
        "by_chance": math.sqrt(count / model.width),
        "direction": None if found is None else float(null_share(found.direction.vector.to(basis.device), basis)),
        "entropy_neurons": _entropy_neurons(model),
    }


def _entropy_neurons(model: CausalLM) -> list[dict[str, Any]] | None:
    try:
        neurons = last_neurons(model)
    except UnsupportedError:
        return None
    return [
        {
            "neuron": number,
            "length": float(neurons.lengths[number]),
            "null_share": float(neurons.null_shares[number]),
            "logit_variance": float(neurons.logit_variances[number]),
        }
        for number in neurons.entropy_neurons(ENTROPY_NEURONS).tolist()
    ]
