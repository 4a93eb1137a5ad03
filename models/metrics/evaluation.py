"""The evaluation report of one set of logits: the numbers a checkpoint is judged, promoted and compared by."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from torch import Tensor

from models.metrics._checks import class_labels, class_scores, feature_rows, same_length
from models.metrics.bootstrap import Interval, bootstrap_interval
from models.metrics.calibration import (
    ReliabilityBin,
    expected_calibration_error,
    maximum_calibration_error,
    noise_floor,
    reliability_bins,
)
from models.metrics.calibration_bootstrap import calibration_intervals
from models.metrics.debiased import debiased_calibration_error
from models.metrics.grouping import grouping_loss
from models.metrics.local_calibration import LocalCalibrationError, local_calibration_error
from models.metrics.per_class import ClassFigures, class_figures, worst_classes
from models.metrics.proper import row_brier_scores, row_losses
from models.metrics.ranking import auroc
from models.metrics.reduced_features import reduced_features
from models.metrics.selective import RiskPoint, aurc, ause, coverage_at_risk, thinned_curve

FEWEST_ROWS = 100  # below, what features tell about groups of rows is noise


@dataclass(frozen=True)
class Evaluation:
    """Measures of top-1 predictions on `rows` items; confidence is the largest softmax probability.

    Read each ECE beside its floor, the mean a perfectly calibrated model would read here, and its debiased value.
    `ece`, `mce` and `reliability` use equal-width bins. `aurc`, `ause`, `error_auroc`, `coverage_at_5_risk` and the
    curve `risk_coverage` rank the rows by 1 - confidence against being wrong, `ause_nll` against the loss; `intervals`
    has `brier`, and `ece` and `smooth_ece` with allowance for their bias (`calibration_intervals`). `worst_classes` are
    at most ten, none where classes differ by chance only.

    None: `error_auroc` where all rows are right or all are wrong, `ause` and `ause_nll` where there is no error at all,
    `grouping_loss` and `local_calibration_error` without features or below 100 rows.
    """

    rows: int
    accuracy: Interval
    nll: Interval
    brier: float
    ece: float
    ece_floor: float
    ece_debiased: float
    ece_mass: float
    ece_mass_floor: float
    ece_mass_debiased: float
    smooth_ece: float
    mce: float
    aurc: float
    ause: float | None
    ause_nll: float | None
    coverage_at_5_risk: float
    error_auroc: float | None
    grouping_loss: float | None
    local_calibration_error: LocalCalibrationError | None
    mean_confidence: float
    bins: int
    intervals: Mapping[str, Interval]
    reliability: tuple[ReliabilityBin, ...]
    risk_coverage: tuple[RiskPoint, ...]
    worst_classes: tuple[ClassFigures, ...]

    def to_dict(self) -> dict[str, Any]:
        """Numbers, lists and dicts only; equal to itself after a trip through JSON."""
        record = asdict(self)
        return record | {name: list(record[name]) for name in ("reliability", "risk_coverage", "worst_classes")}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """The evaluation whose `to_dict` gave `record`, bit for bit."""
        differing = {field.name for field in fields(cls)} ^ record.keys()
        if differing:
            raise ValueError(
                f"not an evaluation of this version, missing or unknown: {sorted(differing)}; evaluate again"
            )
        local = record["local_calibration_error"]
        return cls(
            **{
                **record,
                "accuracy": Interval(**record["accuracy"]),
                "nll": Interval(**record["nll"]),
                "local_calibration_error": None if local is None else LocalCalibrationError(**local),
                "intervals": {name: Interval(**interval) for name, interval in record["intervals"].items()},
                "reliability": tuple(ReliabilityBin(**part) for part in record["reliability"]),
                "risk_coverage": tuple(RiskPoint(**point) for point in record["risk_coverage"]),
                "worst_classes": tuple(ClassFigures(**figures) for figures in record["worst_classes"]),
            }
        )


def evaluate(
    logits: Tensor, labels: Tensor, *, features: Tensor | None = None, bins: int = 15, seed: int = 0
) -> Evaluation:
    """Judge `logits` (N, C), masked choices -infinity, against `labels` (N,) integer; the same seed, the same report.

    `features` (N, D), what the network's head saw, add grouping loss and local calibration error. Meaningful on rows
    the network and its calibrator were not fitted on.
    """
    logits = class_scores(logits, "logits")
    labels = class_labels(labels, logits)
    losses = row_losses(logits, labels)
    probabilities = logits.softmax(dim=1)
    brier_scores = row_brier_scores(probabilities, labels)
    confidence = probabilities.amax(dim=1)
    correct = logits.argmax(dim=1) == labels
    wrong, uncertainty = ~correct, 1 - confidence
    brier = bootstrap_interval(_mean, brier_scores, seed=seed)
    return Evaluation(
        rows=len(labels),
        accuracy=bootstrap_interval(_mean, correct.double(), seed=seed),
        nll=bootstrap_interval(_mean, losses, seed=seed),
        brier=brier.value,
        mce=maximum_calibration_error(confidence, correct, bins=bins),
        aurc=aurc(uncertainty, wrong),
        ause=ause(uncertainty, wrong) if wrong.any() else None,
        ause_nll=ause(uncertainty, losses) if losses.any() else None,
        coverage_at_5_risk=coverage_at_risk(uncertainty, wrong, 0.05),
        error_auroc=auroc(uncertainty, wrong) if wrong.any() and correct.any() else None,
        mean_confidence=_mean(confidence),
        bins=bins,
        reliability=reliability_bins(confidence, correct, bins=bins),
        risk_coverage=thinned_curve(uncertainty, wrong),
        worst_classes=worst_classes(class_figures(probabilities, labels, bins=bins)),
        **_calibration(confidence, correct, brier, bins, seed),
        **_among_alike(features, confidence, correct, bins, seed),
    )


def _calibration(confidence: Tensor, correct: Tensor, brier: Interval, bins: int, seed: int) -> dict[str, Any]:
    intervals = calibration_intervals(confidence, correct, bins=bins, seed=seed)
    return {
        "ece": intervals["ece"].value,
        "ece_floor": noise_floor(confidence, bins=bins, seed=seed),
        "ece_debiased": debiased_calibration_error(confidence, correct, bins=bins),
        "ece_mass": expected_calibration_error(confidence, correct, bins=bins, binning="mass"),
        "ece_mass_floor": noise_floor(confidence, bins=bins, binning="mass", seed=seed),
        "ece_mass_debiased": debiased_calibration_error(confidence, correct, bins=bins, binning="mass"),
        "smooth_ece": intervals["smooth_ece"].value,
        "intervals": {"brier": brier, **intervals},
    }


def _among_alike(features: Tensor | None, confidence: Tensor, correct: Tensor, bins: int, seed: int) -> dict[str, Any]:
    if features is None:
        return {"grouping_loss": None, "local_calibration_error": None}
    features = feature_rows(features)
    same_length(features=features, logits=confidence)
    if len(features) < FEWEST_ROWS:
        return {"grouping_loss": None, "local_calibration_error": None}
    features = reduced_features(features, seed=seed)
    return {
        "grouping_loss": grouping_loss(features, confidence, correct, bins=bins, seed=seed),
        "local_calibration_error": local_calibration_error(features, confidence, correct, bins=bins, seed=seed),
    }


def _mean(values: Tensor) -> float:
    return float(values.mean())
