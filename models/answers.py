"""What calibrator and scores make of a network's outputs, whatever the network is. Read `answer_outputs` first."""

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from models.core.checkpoint import Version
from models.core.errors import CheckpointError, UnknownNameError
from models.core.golden import GoldenRow
from models.core.method import Calibrator, Dimensions, GradientScore, State, UncertaintyScore
from models.core.outputs import ModelOutputs
from models.core.reference import Reference
from models.uncertainty import score

FloatRows = NDArray[np.float32]

FAST, LAST_LAYER, EXACT = "fast", "last_layer", "exact"  # forms of a score of gradients


@dataclass(frozen=True, slots=True)
class ScoredReference:
    """A score and the reference set that gives it a percentile.

    `forms` are the references of the score's other forms, by form: values of two forms do not compare.
    """

    score: UncertaintyScore
    reference: Reference
    forms: dict[str, Reference] = field(default_factory=dict)

    def state(self) -> State:
        """What is stored of it: the score's own tensors and the values of each reference."""
        forms = {f"reference_{form}": reference.values for form, reference in self.forms.items()}
        return {**self.score.state(), "reference": self.reference.values, **forms}


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers for N inputs. `scores` maps a name to values (N,) and percentiles (N,)."""

    class_index: NDArray[np.int64]  # (N,) most probable class after calibration
    confidence: FloatRows  # (N,) calibrated probability of that class
    raw_confidence: FloatRows  # (N,) the network's own probability of that class
    top_index: NDArray[np.int64]  # (N, K) most probable classes, first the predicted one
    top_probability: FloatRows  # (N, K)
    scores: dict[str, tuple[FloatRows, FloatRows]]
    forms: dict[str, str]  # score → the form that its values have, for scores that have several
    features: FloatRows | None = None  # (N, D) input of the network's last linear layer, where asked for


class Answering:
    """A calibrator, None for the network's own probabilities, and the scores of a version."""

    def __init__(self, calibrator: Calibrator | None, scores: dict[str, ScoredReference]) -> None:
        self.calibrator = calibrator
        self.scores = scores

    @torch.inference_mode()
    def answer_outputs(self, outputs: ModelOutputs, scores: Collection[str] = (), top_k: int = 1) -> Answers:
        """Predict, calibrate and score N inputs; only the named scores are computed.

        Raises UnknownNameError for a score that this version does not have.
        """
        return self.answer_calibrated(self.calibrate(outputs), scores, top_k)

    def calibrate(self, outputs: ModelOutputs) -> ModelOutputs:
        """Without a calibrator the calibrated logits are the network's own."""
        if self.calibrator is None:
            return outputs.with_calibrated(outputs.logits)
        return self.calibrator.transform(outputs)

    @torch.inference_mode()
    def answer_calibrated(self, outputs: ModelOutputs, scores: Collection[str] = (), top_k: int = 1) -> Answers:
        """As `answer_outputs`, for outputs that are calibrated already."""
        logarithms = outputs.calibrated_log_probabilities()
        # By logarithm: the probability of a choice may round to 0, which is what a choice that is absent has.
        top = logarithms.topk(min(top_k, logarithms.shape[1]), dim=1).indices
        probabilities = logarithms.exp().gather(1, top)
        label = top[:, :1]
        raw = outputs.log_probabilities().gather(1, label)[:, 0].exp()
        return Answers(
            class_index=label[:, 0].cpu().numpy(),
            confidence=probabilities[:, 0].cpu().numpy(),
            raw_confidence=raw.cpu().numpy(),
            top_index=top.cpu().numpy(),
            top_probability=probabilities.cpu().numpy(),
            scores={name: self._score(name, outputs) for name in scores},
            forms={name: _form(outputs) for name in scores if isinstance(self.scores[name].score, GradientScore)},
        )

    def _score(self, name: str, outputs: ModelOutputs) -> tuple[FloatRows, FloatRows]:
        if name not in self.scores:
            raise UnknownNameError("score", name, self.scores)
        scored = self.scores[name]
        values = scored.score.score(outputs)
        reference = scored.reference
        if isinstance(scored.score, GradientScore):
            reference = scored.forms.get(_form(outputs), reference)
        return values.cpu().numpy(), reference.percentile(values).numpy()


def golden_rows_of(answers: Answers) -> list[GoldenRow]:
    """What is kept of the answers for golden inputs."""
    return [
        GoldenRow(
            confidence=float(answers.confidence[row]),
            scores={name: float(values[row]) for name, (values, _) in answers.scores.items()},
        )
        for row in range(len(answers.confidence))
    ]


def stored_score(
    version: Version, name: str, precision: str, dimensions: Dimensions, device: torch.device
) -> ScoredReference:
    """A score of the version, with its references. Raises CheckpointError when it has none in the precision."""
    state = version.method_state(precision, f"scores.{name}")
    if "reference" not in state:
        raise CheckpointError(f"score {name} has no reference values in {precision}")
    reference = Reference.load(state.pop("reference"))
    forms = {
        form: Reference.load(state.pop(f"reference_{form}"))
        for form in (LAST_LAYER, EXACT)
        if f"reference_{form}" in state
    }
    return ScoredReference(score(name)(dimensions).load_state(state).to(device), reference, forms)


def _form(outputs: ModelOutputs) -> str:
    return LAST_LAYER if outputs.gradients is None else FAST
