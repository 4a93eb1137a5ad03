"""The evaluation report of one set of logits: the numbers a checkpoint is judged, promoted and compared by."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from torch import Tensor

from models.metrics._checks import class_labels, class_scores
from models.metrics.bootstrap import Interval, bootstrap_interval
from models.metrics.calibration import (
    ReliabilityBin,
    expected_calibration_error,
    maximum_calibration_error,
    noise_floor,
    reliability_bins,
)
from models.metrics.proper import brier_score, row_losses
from models.metrics.ranking import auroc
from models.metrics.selective import aurc


@dataclass(frozen=True)
class Evaluation:
    """Measures of top-1 predictions on `rows` items; confidence is the largest softmax probability.

    Read each ECE beside its floor, the mean a perfectly calibrated model would read here. `ece`, `mce` and
    `reliability` use equal-width bins. `aurc` and `error_auroc` rank the rows by 1 - confidence against being wrong;
    `error_auroc` is None where all rows are right or all are wrong.
    """

    rows: int
    accuracy: Interval
    nll: Interval
    brier: float
    ece: float
    ece_floor: float
    ece_mass: float
    ece_mass_floor: float
    mce: float
    aurc: float
    error_auroc: float | None
    mean_confidence: float
    bins: int
    reliability: tuple[ReliabilityBin, ...]

    def to_dict(self) -> dict[str, Any]:
        """Numbers, lists and dicts only; equal to itself after a trip through JSON."""
        return asdict(self) | {"reliability": [asdict(part) for part in self.reliability]}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """The evaluation whose `to_dict` gave `record`, bit for bit."""
        differing = {field.name for field in fields(cls)} ^ record.keys()
        if differing:
            raise ValueError(
                f"not an evaluation of this version, missing or unknown: {sorted(differing)}; evaluate again"
            )
        return cls(
            **{
                **record,
                "accuracy": Interval(**record["accuracy"]),
                "nll": Interval(**record["nll"]),
                "reliability": tuple(ReliabilityBin(**part) for part in record["reliability"]),
            }
        )


def evaluate(logits: Tensor, labels: Tensor, *, bins: int = 15, seed: int = 0) -> Evaluation:
    """Judge `logits` (N, C), masked choices -infinity, against `labels` (N,) integer; the same seed, the same report.

    Meaningful on rows the network and its calibrator were not fitted on.
    """
    logits = class_scores(logits, "logits")
    labels = class_labels(labels, logits)
    losses = row_losses(logits, labels)
    probabilities = logits.softmax(dim=1)
    confidence = probabilities.amax(dim=1)
    correct = logits.argmax(dim=1) == labels
    wrong, uncertainty = ~correct, 1 - confidence
    return Evaluation(
        rows=len(labels),
        accuracy=bootstrap_interval(_mean, correct.double(), seed=seed),
        nll=bootstrap_interval(_mean, losses, seed=seed),
        brier=brier_score(probabilities, labels),
        ece=expected_calibration_error(confidence, correct, bins=bins),
        ece_floor=noise_floor(confidence, bins=bins, seed=seed),
        ece_mass=expected_calibration_error(confidence, correct, bins=bins, binning="mass"),
        ece_mass_floor=noise_floor(confidence, bins=bins, binning="mass", seed=seed),
        mce=maximum_calibration_error(confidence, correct, bins=bins),
        aurc=aurc(uncertainty, wrong),
        error_auroc=auroc(uncertainty, wrong) if wrong.any() and correct.any() else None,
        mean_confidence=_mean(confidence),
        bins=bins,
        reliability=reliability_bins(confidence, correct, bins=bins),
    )


def _mean(values: Tensor) -> float:
    return float(values.mean())
