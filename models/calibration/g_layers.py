"""g-layers (arXiv 2006.12807): a small dense network on the logits, fitted by NLL with the classifier frozen."""

from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from models.calibration.temperature import best_inverse_temperature
from models.core.method import Calibrator, State
from models.core.outputs import ModelOutputs, Needs

WIDEST = 256
HELD_OUT_SHARE = 0.2
SEED = 2006
LEARNING_RATE, WEIGHT_DECAY = 3e-3, 0.1
MOST_STEPS, PATIENCE = 300, 20


class GLayers(Calibrator):
    """softmax(z / T + g(z)), g two dense layers with min(2C, 256) ReLU units between; the predicted label may change.

    Ours: the temperature beside g, which starts as zero, so that training can only leave temperature scaling for
    something better on the fifth of the rows that is held out to stop it (below 5 rows it stays); the width's limit;
    standardised logits. Meaningful from some hundred rows on.
    """

    name = "g_layers"
    needs = Needs.LOGITS
    takes_masks = False

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        classes = self.dimensions.classes
        width = min(2 * classes, WIDEST)
        layers = {
            "inner": (width, classes),
            "inner_offset": (width,),
            "outer": (classes, width),
            "outer_offset": (classes,),
        }
        return {"temperature": (), "mean": (classes,), "deviation": (classes,), **layers}

    def fit(self, outputs: ModelOutputs, labels: Tensor) -> Self:
        self.check_labels(outputs, labels)
        generator = torch.Generator().manual_seed(SEED)
        start = self._start(outputs.logits, labels, generator)
        order = torch.randperm(len(labels), generator=generator).to(labels.device)
        held_out = int(HELD_OUT_SHARE * len(labels))
        parts = [(outputs.logits[rows], labels[rows]) for rows in (order[held_out:], order[:held_out])]
        self._state = _trained(start, *parts) if held_out else start
        return self

    def transform(self, outputs: ModelOutputs) -> ModelOutputs:
        self.require_fitted()
        self.check_classes(outputs)
        return outputs.with_calibrated(_logits(self._state, outputs.logits))

    def _start(self, logits: Tensor, labels: Tensor, generator: torch.Generator) -> State:
        state = {name: torch.zeros(shape, device=logits.device) for name, shape in self.state_shapes().items()}
        inner = torch.randn(state["inner"].shape, generator=generator) * (2 / logits.shape[1]) ** 0.5
        deviation = logits.std(dim=0, correction=0)
        return state | {
            "temperature": torch.tensor(1 / best_inverse_temperature(logits.double(), labels), device=logits.device),
            "mean": logits.mean(dim=0),
            "deviation": torch.where(deviation > 0, deviation, 1),
            "inner": inner.to(logits.device),
        }


def _logits(state: State, logits: Tensor) -> Tensor:
    standardised = (logits - state["mean"]) / state["deviation"]
    inner = linear(standardised, state["inner"], state["inner_offset"]).relu()
    return logits / state["temperature"] + linear(inner, state["outer"], state["outer_offset"])


def _trained(start: State, fitting: tuple[Tensor, Tensor], held_out: tuple[Tensor, Tensor]) -> State:
    """The state of least NLL on the held-out rows, the start among them."""
    layers = {
        name: value.clone().requires_grad_() for name, value in start.items() if name.startswith(("inner", "outer"))
    }
    optimiser = torch.optim.AdamW(layers.values(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    best, lowest, waited = start, _nll(start, held_out), 0
    for _ in range(MOST_STEPS):
        optimiser.zero_grad()
        cross_entropy(_logits(start | layers, fitting[0]), fitting[1]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        found = start | {name: value.detach().clone() for name, value in layers.items()}
        reached = _nll(found, held_out)
        best, lowest, waited = (found, reached, 0) if reached < lowest else (best, lowest, waited + 1)
        if waited == PATIENCE:
            break
    return best


@torch.no_grad()
def _nll(state: State, rows: tuple[Tensor, Tensor]) -> float:
    return float(cross_entropy(_logits(state, rows[0]), rows[1]))
