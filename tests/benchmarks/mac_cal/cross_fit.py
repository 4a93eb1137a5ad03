"""Calibrators fitted on four fifths of the rows and measured on the fifth, for all fifths together."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import mean

import torch
from torch import Tensor

from models.core.outputs import ModelOutputs
from models.metrics.calibration import expected_calibration_error
from models.metrics.proper import accuracy, negative_log_likelihood
from tests.benchmarks.epistemic.detection import auroc_of
from tests.benchmarks.mac_cal.probe import Probed

FOLDS = 5
MEASURES = {
    "ece": "ECE, 15 bins",
    "ece_mass": "adaptive ECE",
    "nll": "NLL",
    "accuracy": "accuracy",
    "auroc": "AUROC, textures",
}
HIGHER_IS_BETTER = ("accuracy", "auroc")

Logits = Callable[[ModelOutputs], Tensor]
Fit = Callable[[ModelOutputs, Tensor, int], Logits]  # outputs, labels, number of the fold


@dataclass(frozen=True, slots=True)
class Fold:
    """Row numbers: to fit on, and to judge on."""

    fit: Tensor
    judge: Tensor


def folds(rows: int, seed: int) -> Iterator[Fold]:
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    parts = order.tensor_split(FOLDS)
    for place, judge in enumerate(parts):
        yield Fold(torch.cat([part for other, part in enumerate(parts) if other != place]), judge)


def cross_fitted(probed: Probed, fit: Fit, seed: int) -> dict[str, float]:
    """All of `MEASURES`: of all rows, each under the fit without it; the AUROC is the mean over the fits."""
    inside, judged, aurocs = [], [], []
    for number, fold in enumerate(folds(len(probed.labels), seed)):
        logits = fit(probed.inside.take(fold.fit), probed.labels[fold.fit], number)
        inside.append(logits(probed.inside.take(fold.judge)))
        judged.append(probed.labels[fold.judge])
        aurocs.append(auroc_of(doubt(inside[-1]), doubt(logits(probed.outside))))
    return {**measured(torch.cat(inside), torch.cat(judged)), "auroc": mean(aurocs)}


def measured(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """All of `MEASURES` but the AUROC."""
    confidence, label = logits.softmax(dim=1).max(dim=1)
    return {
        "ece": expected_calibration_error(confidence, label == labels),
        "ece_mass": expected_calibration_error(confidence, label == labels, binning="mass"),
        "nll": negative_log_likelihood(logits, labels),
        "accuracy": accuracy(logits, labels),
    }


def doubt(logits: Tensor) -> Tensor:
    """(N,): 1 - max probability, higher meaning outside."""
    return 1 - logits.double().softmax(dim=1).amax(dim=1)
