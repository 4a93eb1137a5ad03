"""What a model would answer after each of its layers: accuracy, confidence and calibration over depth.

Calibration Across Layers (arXiv 2511.00280) by the logit lens: the final norm and the unembedding applied to the
residual stream of the prompt's last token, over the choices' tokens. Layers count from 1; the last one's answers are
the model's own.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.core.outputs import ModelOutputs
from models.language import anatomy
from models.language.causal_lm import CausalLM
from models.language.next_token import NextTokenQuestions, answer_outputs
from models.language.tree_forward import BUDGET, chosen_rows, forward
from models.metrics.calibration import expected_calibration_error, maximum_calibration_error

# Ours, where the paper's text could not be had (research notes, section 5.4).
BINS = 10
LONGEST_PHASE = 0.1  # of all layers
LEAST_FALL = 0.02  # of ECE, from its peak to the last layer
MOST_ACCURACY_CHANGE = 0.03  # from the layer before the phase to the last one


@dataclass(frozen=True, slots=True)
class LayerFigures:
    """Of the answers after one layer; confidence is the mean largest probability, ECE and MCE have 10 equal bins."""

    layer: int
    accuracy: float
    confidence: float
    ece: float
    mce: float


@dataclass(frozen=True, slots=True)
class CorrectionPhase:
    """The last layers, where confidence is set right while the answers stay; `peak` has the largest ECE before it."""

    peak: int
    layers: tuple[int, ...]


def layer_states(model: CausalLM, questions: NextTokenQuestions, budget: int = BUDGET) -> Tensor:
    """(L, N, D): the residual stream after each layer at the last token of every prompt, in the network's precision."""
    nodes, places = questions.nodes()
    parts = []
    with recorded(model.network) as record:
        for first, last, _ in forward(model.network, questions.tree, budget):
            rows = chosen_rows(nodes, first, last)
            parts.append(torch.stack([state[0, rows] for state in record]))
            record.clear()
    return torch.cat(parts, dim=1)[:, places]


def layer_outputs(model: CausalLM, states: Tensor, tokens: Sequence[tuple[int, ...]]) -> Iterator[ModelOutputs]:
    """The answers after each layer in order, for states (L, N, D); features are left out but for the last layer's."""
    norm, unembedding = anatomy.final_norm(model.network), model.unembedding
    for place, state in enumerate(states):
        with torch.inference_mode():
            normed = norm(state)
        yield answer_outputs(unembedding, normed, tokens, features=place == len(states) - 1)


def layer_curve(outputs: Iterator[ModelOutputs], labels: Tensor) -> tuple[LayerFigures, ...]:
    """Labels (N,) int64 are the places of the right choices."""
    return tuple(layer_figures(layer, each, labels) for layer, each in enumerate(outputs, start=1))


def layer_figures(layer: int, outputs: ModelOutputs, labels: Tensor) -> LayerFigures:
    confidence, predicted = outputs.log_probabilities().exp().max(dim=1)
    correct = predicted == labels.to(predicted.device)
    return LayerFigures(
        layer,
        float(correct.double().mean()),
        float(confidence.double().mean()),
        expected_calibration_error(confidence, correct, bins=BINS),
        maximum_calibration_error(confidence, correct, bins=BINS),
    )


def correction_phase(curve: Sequence[LayerFigures]) -> CorrectionPhase | None:
    """None where none is found: the ECE does not fall after its peak, or the answers change while it does.

    The phase is all layers after the peak of ECE, at most the last tenth.
    """
    peak, last = max(curve, key=lambda each: each.ece), curve[-1]
    if peak.ece - last.ece < LEAST_FALL:
        return None
    longest = max(1, round(LONGEST_PHASE * len(curve)))
    layers = tuple(each.layer for each in curve if each.layer > max(peak.layer, last.layer - longest))
    before = curve[layers[0] - 2]
    return CorrectionPhase(peak.layer, layers) if abs(before.accuracy - last.accuracy) <= MOST_ACCURACY_CHANGE else None


@contextmanager
def recorded(network: Any) -> Iterator[list[Tensor]]:
    """A list that every forward pass adds the output (1, T, D) of each block to."""
    record: list[Tensor] = []
    handles = [
        block.register_forward_hook(lambda *told: record.append(stream(told[2]))) for block in anatomy.blocks(network)
    ]
    try:
        yield record
    finally:
        for handle in handles:
            handle.remove()


def stream(output: Any) -> Tensor:
    """The residual stream out of what a block returns, which some families give as a tuple."""
    found: Tensor = output[0] if isinstance(output, tuple) else output
    return found
