"""The metrics that tell which version serves and how well calibrated it is; there only while it serves."""

from collections.abc import Iterator

from app.scoring.loading import Served
from app.telemetry import Metrics


def show(metrics: Metrics, predictor: Served) -> None:
    """Add the gauges of a version that begins to serve."""
    metrics.model.labels(predictor.model, predictor.version).set(1)
    for labels, ece in _calibration(predictor):
        metrics.ece.labels(*labels).set(ece)


def withdraw(metrics: Metrics, predictor: Served) -> None:
    """Remove the gauges of a version that serves no longer."""
    metrics.model.remove(predictor.model, predictor.version)
    for labels in {labels for labels, _ in _calibration(predictor)}:
        metrics.ece.remove(*labels)


def _calibration(predictor: Served) -> Iterator[tuple[tuple[str, ...], float]]:
    for evaluation in predictor.calibration["evaluations"]:
        labels = (predictor.model, str(predictor.version), evaluation["data"], evaluation["role"])
        yield labels, evaluation["after"]["ece"]
