"""Feature clipping (arXiv 2410.19796, AAAI 2025), then temperature scaling: extreme features make extreme logits."""

import math
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from models.calibration.temperature import best_inverse_temperature
from models.core.method import Calibrator
from models.core.outputs import ModelOutputs, Needs

GRID_STEP, GRID_POINTS = 0.01, 2000  # c from 0.01 to 20, as released
NO_CLIP = torch.finfo(torch.float32).max
KEPT_ACCURACY = 0.99  # of the accuracy without clipping
SEARCH_POINTS = 24  # in each of the two passes over the grid
SEARCH_NEAR = 1e-3  # of log T, which finds its NLL within 1e-5


class FeatureClipping(Calibrator):
    """softmax(head(min(max(h, -c), c)) / T) for features h; the predicted label may change.

    c has the least NLL on the paper's grid 0.01, 0.02 ... 20 among values that keep 99 % of the accuracy. Ours: the NLL
    is that after the temperature which suits c (the paper takes it, or ECE, before any); no clipping is a candidate
    too, so that the fit is never worse than temperature scaling's; and the grid is searched in two passes, 24 values
    over all of it and 24 around the best, since each costs a pass through the head.
    """

    name = "feature_clipping"
    needs = Needs.LOGITS | Needs.FEATURES | Needs.HEAD
    takes_masks = False

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"clip": (), "temperature": ()}

    def fit(self, outputs: ModelOutputs, labels: Tensor) -> Self:
        """Raises ValueError also where the logits are not those of the head, MissingOutputError without features."""
        self.check_labels(outputs, labels)
        _check_head(outputs)
        clip = _best_clip(outputs, labels)
        inverse = best_inverse_temperature(_clipped(outputs, clip).double(), labels)
        device = outputs.logits.device
        self._state = {
            "clip": torch.tensor(clip, device=device),
            "temperature": torch.tensor(1 / inverse, device=device),
        }
        return self

    def transform(self, outputs: ModelOutputs) -> ModelOutputs:
        self.require_fitted()
        self.check_classes(outputs)
        return outputs.with_calibrated(_clipped(outputs, float(self._state["clip"])) / self._state["temperature"])


def _clipped(outputs: ModelOutputs, clip: float) -> Tensor:
    return outputs.require_head().logits(outputs.require_features().clamp(-clip, clip))


def _check_head(outputs: ModelOutputs) -> None:
    found = _clipped(outputs, NO_CLIP)
    if not torch.allclose(found, outputs.logits, rtol=1e-3, atol=1e-3 * float(outputs.logits.abs().max())):
        raise ValueError("the head does not give these logits for these features; prepare all three with one network")


def _best_clip(outputs: ModelOutputs, labels: Tensor) -> float:
    lowest_accuracy = KEPT_ACCURACY * _accuracy(outputs.logits, labels)
    best = (_tempered_nll(outputs.logits, labels), NO_CLIP)
    # A clip that cuts nothing here would cut new rows with larger features: one step below the largest is the last.
    last = max(1, min(GRID_POINTS, math.ceil(float(outputs.require_features().abs().max()) / GRID_STEP) - 1))
    first = 1
    for _ in range(2):
        points = torch.logspace(0, 1, SEARCH_POINTS, base=last / first, dtype=torch.float64).mul(first).round()
        for point in sorted(set(points.tolist())):
            logits = _clipped(outputs, point * GRID_STEP)
            if _accuracy(logits, labels) >= lowest_accuracy:
                found = _tempered_nll(logits, labels)
                best = (found, point * GRID_STEP) if found < best[0] else best
        first, last = _neighbours(points, best[1] / GRID_STEP)
    return best[1]


def _neighbours(points: Tensor, best: float) -> tuple[int, int]:
    """The points before and after the best one, the ends where there is none."""
    after = int(torch.searchsorted(points, best - 0.5))
    return int(points[max(after - 1, 0)]), int(points[min(after + 1, len(points) - 1)])


def _tempered_nll(logits: Tensor, labels: Tensor) -> float:
    inverse = best_inverse_temperature(logits, labels, near=SEARCH_NEAR)
    return float(cross_entropy(logits.double() * inverse, labels))


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(dim=1) == labels).double().mean())
