"""The direction's steps tried on the fit split, with the answers that each gives."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from models.core.outputs import ModelOutputs
from models.language import anatomy
from models.language.causal_lm import CausalLM
from models.language.direction import STEPS, CalibrationDirection, SweepPoint, best_point, edited_outputs
from models.language.edits import Edits
from models.language.layers import layer_figures
from models.language.next_token import answer_outputs
from tests.benchmarks.language.parts import Part


@dataclass(frozen=True, slots=True)
class Swept:
    """Every step tried, the best of them, and what the model answers with that one."""

    points: tuple[SweepPoint, ...]
    chosen: SweepPoint
    answers: ModelOutputs


def swept(model: CausalLM, fit: Part, direction: CalibrationDirection, layers: Sequence[int]) -> Swept:
    found: dict[SweepPoint, ModelOutputs] = {}
    for layer in layers:
        for step, answers in zip(STEPS, answers_under(model, fit, layer, direction.edits(layer, STEPS)), strict=True):
            found[SweepPoint(layer, step, layer_figures(model.layers, answers, fit.labels))] = answers
    chosen = best_point(list(found))
    return Swept(tuple(found), chosen, found[chosen])


def answers_under(model: CausalLM, found: Part, layer: int, edits: Edits) -> list[ModelOutputs]:
    """As `edited_outputs`. After the last layer no token attends any more: the stream on record is enough."""
    if layer < model.layers:
        return edited_outputs(model, found.questions, layer, edits)
    stream, norm = found.states[-1], anatomy.final_norm(model.network)
    with torch.inference_mode():
        states = [norm(edits.applied(stream, torch.full((len(stream),), number))) for number in range(len(edits))]
    return [answer_outputs(model.unembedding, each, found.questions.tokens) for each in states]
