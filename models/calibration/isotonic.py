"""Isotonic regression (Zadrozny and Elkan 2002) of being right on the predicted label's confidence."""

from typing import Self

import torch
from torch import Tensor

from models.calibration.top_label import bounded_log_odds, top_label, with_log_odds
from models.core.method import Calibrator
from models.core.outputs import ModelOutputs, Needs

KNOTS = 512


class Isotonic(Calibrator):
    """The never falling function of the confidence with the least squared error, straight lines between its knots.

    Its confidence lies in [1/(N + 2), (N + 1)/(N + 2)] after N rows (ours). Rows of one flat stretch rank alike. Knots
    lie on log-odds, not on confidence (ours): the fit is the same, and near 1 it keeps apart what float32 would merge.
    """

    name = "isotonic"
    needs = Needs.LOGITS

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"knots": (KNOTS,), "accuracies": (KNOTS,), "rows": ()}

    def fit(self, outputs: ModelOutputs, labels: Tensor) -> Self:
        # Here, since the online path must not load scikit-learn.
        from sklearn.isotonic import IsotonicRegression  # type: ignore[import-untyped]

        self.check_labels(outputs, labels)
        top = top_label(outputs)
        right = top.index == labels
        fitted = IsotonicRegression(y_min=0, y_max=1).fit(top.log_odds.cpu().numpy(), right.double().cpu().numpy())
        self._state = {
            "knots": _resampled(torch.as_tensor(fitted.X_thresholds_)).to(labels.device),
            "accuracies": _resampled(torch.as_tensor(fitted.y_thresholds_)).to(labels.device),
            "rows": torch.tensor(len(labels), dtype=torch.float32, device=labels.device),
        }
        return self

    def transform(self, outputs: ModelOutputs) -> ModelOutputs:
        self.require_fitted()
        self.check_classes(outputs)
        top = top_label(outputs)
        accuracies = interpolated(top.log_odds.float(), self._state["knots"], self._state["accuracies"])
        return with_log_odds(outputs, top, bounded_log_odds(accuracies, self._state["rows"]))


def interpolated(positions: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    """`values` (K,) at `knots` (K,), never falling, read at `positions` (N,): straight lines between, flat outside."""
    positions = positions.clamp(knots[0], knots[-1])
    right = torch.searchsorted(knots, positions).clamp(1, len(knots) - 1)
    # Knots repeat at the end, where a line has no width.
    width = (knots[right] - knots[right - 1]).clamp(min=torch.finfo(knots.dtype).tiny)
    share = (positions - knots[right - 1]) / width
    return values[right - 1] + share * (values[right] - values[right - 1])


def _resampled(thresholds: Tensor) -> Tensor:
    """(512,) of any number: exact up to 512, the last one repeated; beyond, evenly picked, both ends among them."""
    count = len(thresholds)
    picked = torch.linspace(0, count - 1, KNOTS).round() if count > KNOTS else torch.arange(KNOTS).clamp(max=count - 1)
    return thresholds[picked.long()].float()
