"""The figures of a trained CIFAR-10 network on the test images and on images of other sets."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from models.calibration.temperature import best_inverse_temperature
from models.metrics.calibration import expected_calibration_error
from models.metrics.proper import accuracy, negative_log_likelihood
from models.training.classifier.judging import ROWS_AT_ONCE, logits_of
from models.training.classifier.rows import PixelRows
from tests.benchmarks.epistemic.detection import auroc_of
from tests.benchmarks.experiments.cifar10_sets import OUTSIDE, fitted_half, outside_rows, test_rows

CPU = torch.device("cpu")
PAPER_BINS, USUAL_BINS = 10, 15


def measured(network: nn.Module) -> dict[str, float]:
    """ECE, accuracy, NLL and mean confidence on all test rows; the same on one half of them, before and after
    temperature scaling fitted on the other (`half …`, `scaled …`); AUROC of 1 - max softmax, outside being positive.
    """
    rows = test_rows()
    logits, fitted = network_logits(network, rows), fitted_half()
    inverse = best_inverse_temperature(logits[fitted].double(), rows.labels[fitted])
    held, labels = logits[~fitted], rows.labels[~fitted]
    found = judged(logits, rows.labels)
    found |= {f"half {name}": value for name, value in judged(held, labels).items()}
    found |= {f"scaled {name}": value for name, value in judged(held * inverse, labels).items()}
    return found | {"temperature": 1 / inverse} | aurocs(network, logits)


def judged(logits: Tensor, labels: Tensor) -> dict[str, float]:
    confidence, predicted = logits.double().softmax(dim=1).max(dim=1)
    correct = predicted == labels
    return {
        "ECE 10": expected_calibration_error(confidence, correct, bins=PAPER_BINS),
        "ECE 15": expected_calibration_error(confidence, correct, bins=USUAL_BINS),
        "accuracy": accuracy(logits, labels),
        "NLL": negative_log_likelihood(logits, labels),
        "confidence": float(confidence.mean()),
    }


def aurocs(network: nn.Module, inside: Tensor) -> dict[str, float]:
    """By set, from the test logits `inside`."""
    rows = outside_rows()
    return {f"AUROC {name}": auroc_of(_doubt(inside), _doubt(network_logits(network, rows[name]))) for name in OUTSIDE}


def _doubt(logits: Tensor) -> Tensor:
    return 1 - logits.double().softmax(dim=1).amax(dim=1)


@torch.no_grad()
def network_logits(network: nn.Module, rows: PixelRows) -> Tensor:
    """(N, C) in eval mode."""
    return torch.cat(list(_logits(network.eval(), rows)))


def _logits(network: nn.Module, rows: PixelRows) -> Iterator[Tensor]:
    for places in torch.arange(len(rows)).split(ROWS_AT_ONCE):
        yield logits_of(network(rows.images(rows.read(places)[0], CPU)))
