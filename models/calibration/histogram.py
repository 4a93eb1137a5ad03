"""Histogram binning (Zadrozny and Elkan 2001) of the predicted label's confidence: each bin gets its accuracy."""

from typing import Self

import torch
from torch import Tensor

from models.calibration.top_label import TopLabel, bounded_log_odds, top_label, with_log_odds
from models.core.method import Calibrator
from models.core.outputs import ModelOutputs, Needs

BINS = 15


class Histogram(Calibrator):
    """15 bins of equal mass; the new confidence is the bin's accuracy, so that at most 15 values occur.

    It need not rise with the old one, and it ranks rows of one bin alike: meaningful with some 20 rows a bin. A bin of
    n rows gives at most (n + 1)/(n + 2) and at least 1/(n + 2), one without rows gives the accuracy of all (both ours).
    """

    name = "histogram"
    needs = Needs.LOGITS

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"edges": (BINS - 1,), "log_odds": (BINS,)}

    def fit(self, outputs: ModelOutputs, labels: Tensor) -> Self:
        self.check_labels(outputs, labels)
        top = top_label(outputs)
        right = (top.index == labels).double()
        shares = torch.arange(1, BINS, dtype=torch.float64, device=right.device) / BINS
        edges = torch.quantile(top.log_odds, shares, interpolation="midpoint").float()
        self._state = {"edges": edges, "log_odds": _bin_log_odds(_bins(top, edges), right).float()}
        return self

    def transform(self, outputs: ModelOutputs) -> ModelOutputs:
        self.require_fitted()
        self.check_classes(outputs)
        top = top_label(outputs)
        return with_log_odds(outputs, top, self._state["log_odds"][_bins(top, self._state["edges"])])


def _bins(top: TopLabel, edges: Tensor) -> Tensor:
    return torch.bucketize(top.log_odds.float(), edges, right=True)


def _bin_log_odds(bins: Tensor, right: Tensor) -> Tensor:
    rows = torch.bincount(bins, minlength=BINS)
    hits = torch.bincount(bins, weights=right, minlength=BINS)
    inside = bounded_log_odds(hits / rows.clamp(min=1), rows)
    return torch.where(rows > 0, inside, bounded_log_odds(right.mean(), len(right)))
