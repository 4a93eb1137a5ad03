"""Temperature scaling (Guo et al. 2017, arXiv 1706.04599, section 4.2): one divisor for all logits."""

import math
from typing import Self

import torch
from torch import Tensor

from models.core.method import Calibrator
from models.core.outputs import ModelOutputs, Needs

SMALLEST, LARGEST = 0.02, 50.0


class Temperature(Calibrator):
    """softmax(z / T) with T minimising the NLL; T > 1 lowers confidence, T < 1 raises it; the label never changes.

    T is kept in [0.02, 50]: rows that are all right (or a separable set) would drive it to 0.
    """

    name = "temperature"
    needs = Needs.LOGITS

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"temperature": ()}

    def fit(self, outputs: ModelOutputs, labels: Tensor) -> Self:
        self.check_labels(outputs, labels)
        inverse = best_inverse_temperature(outputs.logits.double(), labels, outputs.mask)
        self._state = {"temperature": torch.tensor(1 / inverse, dtype=torch.float32, device=outputs.logits.device)}
        return self

    def transform(self, outputs: ModelOutputs) -> ModelOutputs:
        self.require_fitted()
        return outputs.with_calibrated(outputs.logits / self._state["temperature"])


def best_inverse_temperature(
    logits: Tensor, labels: Tensor, mask: Tensor | None = None, *, halvings: int = 60
) -> float:
    """1/T in [1/50, 50] at the minimum of the NLL of softmax(logits / T); logits (N, C), labels (N,), `mask`
    (N, C) True where an item has the choice.

    The NLL is convex in b = 1/T: its slope is mean(E_p[z] - z_label) and never falls, so bisection finds the minimum,
    log T within 8 / 2**halvings.
    """
    absent = torch.zeros_like(logits, dtype=torch.bool) if mask is None else ~mask
    logits = logits.masked_fill(absent, 0)
    picked = logits.gather(1, labels[:, None])[:, 0]
    low, high = 1 / LARGEST, 1 / SMALLEST
    for _ in range(halvings):
        middle = math.sqrt(low * high)
        slope = (
            ((logits * middle).masked_fill(absent, -torch.inf).softmax(dim=1) * logits).sum(dim=1).sub(picked).mean()
        )
        low, high = (low, middle) if slope > 0 else (middle, high)
    return math.sqrt(low * high)
