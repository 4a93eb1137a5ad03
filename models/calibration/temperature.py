"""Temperature scaling (Guo et al. 2017, arXiv 1706.04599, section 4.2): one divisor for all logits."""

import math
from collections.abc import Callable
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
    logits: Tensor, labels: Tensor, mask: Tensor | None = None, *, near: float = 1e-9
) -> float:
    """1/T in [1/50, 50] at the minimum of the NLL of softmax(logits / T); logits (N, C), labels (N,), `mask`
    (N, C) True where an item has the choice.
    """
    absent = None if mask is None else ~mask
    logits = logits if absent is None else logits.masked_fill(absent, 0)

    def derivatives(inverse: float) -> tuple[float, float]:
        slope, curvature = row_derivatives(logits, labels, inverse, absent)
        return float(slope.mean()), float(curvature.mean())

    return least_loss(derivatives, near)


def least_loss(derivatives: Callable[[float], tuple[float, float]], near: float) -> float:
    """b = 1/T in [1/50, 50] at the minimum of a loss convex in b, from its first and second derivative by b.

    Newton's method on log b, within the interval that the slopes' signs leave; halved where a step would lead out of
    it, or is not half as long as the one before. Done at a step shorter than `near`.
    """
    low, high = math.log(1 / LARGEST), math.log(1 / SMALLEST)
    place, step = 0.0, high - low
    while abs(step) > near:
        inverse = math.exp(place)
        slope, curvature = derivatives(inverse)
        low, high = (low, place) if slope > 0 else (place, high)
        newton = -slope / (inverse * curvature) if curvature > 0 else math.inf
        inside = low < place + newton < high and abs(newton) < abs(step) / 2
        step = newton if inside else (low + high) / 2 - place
        place += step
    return math.exp(place)


def row_derivatives(
    logits: Tensor, labels: Tensor, inverse: float, absent: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """(N,) and (N,): E_p[z] - z_label and Var_p[z], first and second derivative of each row's loss by b = 1/T."""
    scaled = logits * inverse
    probabilities = (scaled if absent is None else scaled.masked_fill(absent, -torch.inf)).softmax(dim=1)
    mean = torch.linalg.vecdot(probabilities, logits)
    spread = torch.linalg.vecdot(probabilities, (logits - mean[:, None]).square())
    return mean - logits.gather(1, labels[:, None])[:, 0], spread
