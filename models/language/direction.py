"""The calibration direction of the residual stream (arXiv 2511.00280), how far to go along it, and what to compare.

c_i = (A_i - A_(i-1)) / |A_i - A_(i-1)|, A_i the residual stream after layer i; the direction is the mean of c_i over
the layers of the correction phase. Ours: A_i is the mean over the calibration prompts at their last token, and the mean
is brought to length 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.core.outputs import ModelOutputs
from models.language.causal_lm import CausalLM
from models.language.edits import Edits, edited_states
from models.language.layers import CorrectionPhase, LayerFigures
from models.language.next_token import NextTokenQuestions, answer_outputs
from models.language.tree_forward import BUDGET

# Ours, where the paper's text could not be had (research notes, section 5.4).
STEPS = (-0.5, -0.4, -0.3, -0.2, -0.1, -0.05, 0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
MOST_ACCURACY_LOST = 0.005
RANDOM_DIRECTIONS = 20


@dataclass(frozen=True, slots=True)
class CalibrationDirection:
    """A unit vector (D,), the length it had as a mean of unit vectors (1: all agree), and the mean length of the
    residual stream after each layer (L,), which steps are measured in."""

    vector: Tensor
    agreement: float
    scales: Tensor

    def edits(self, layer: int, steps: Sequence[float]) -> Edits:
        """Steps along the vector after `layer`, in mean lengths of the residual stream there."""
        return edits_along(self.vector.expand(len(steps), -1), [step * self.scale(layer) for step in steps])

    def scale(self, layer: int) -> float:
        return float(self.scales[layer - 1])


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """One step (in mean lengths of the residual stream) after one layer, and what the model then answers."""

    layer: int
    step: float
    figures: LayerFigures


def calibration_direction(states: Tensor, phase: CorrectionPhase) -> CalibrationDirection:
    """From the residual stream (L, N, D) of calibration prompts. Raises ValueError for a phase that begins before
    layer 2."""
    if phase.layers[0] < 2:
        raise ValueError("a correction phase begins at layer 2 or later: the first layer has none before it")
    means = states.double().mean(dim=1)
    changes = torch.stack([means[layer - 1] - means[layer - 2] for layer in phase.layers])
    mean = torch.nn.functional.normalize(changes, dim=1).mean(dim=0)
    length = mean.norm()
    return CalibrationDirection((mean / length).float(), float(length), states.double().norm(dim=2).mean(dim=1).float())


def best_point(points: Sequence[SweepPoint]) -> SweepPoint:
    """The lowest ECE among points that lose at most half a point of accuracy against step 0, which must be there."""
    accuracy = next(point.figures.accuracy for point in points if point.step == 0)
    allowed = [point for point in points if point.figures.accuracy >= accuracy - MOST_ACCURACY_LOST]
    return min(allowed, key=lambda point: (point.figures.ece, abs(point.step)))


def control_edits(direction: CalibrationDirection, layer: int, step: float, seed: int) -> dict[str, Edits]:
    """What a step is to be compared with: the same length along random directions, the opposite way, and the stream
    without its part along the direction."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(RANDOM_DIRECTIONS, len(direction.vector), generator=generator)
    length = step * direction.scale(layer)
    return {
        "random": edits_along(torch.nn.functional.normalize(drawn, dim=1), [length] * RANDOM_DIRECTIONS),
        "opposite": direction.edits(layer, [-step]),
        "ablated": Edits(direction.vector[None], torch.zeros(1), torch.ones(1, dtype=torch.bool)),
    }


def edits_along(vectors: Tensor, lengths: Sequence[float]) -> Edits:
    """Steps of these lengths along unit vectors (K, D)."""
    return Edits(vectors, torch.tensor(lengths), torch.zeros(len(lengths), dtype=torch.bool))


def edited_outputs(
    model: CausalLM, questions: NextTokenQuestions, layer: int, edits: Edits, budget: int = BUDGET
) -> list[ModelOutputs]:
    """The model's answers under each change after `layer`."""
    states = edited_states(model, questions, layer, edits, budget)
    return [answer_outputs(model.unembedding, each, questions.tokens) for each in states]
