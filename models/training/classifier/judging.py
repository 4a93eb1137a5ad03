"""How a network in training does on images that it is not trained on."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.metrics.calibration import expected_calibration_error
from models.metrics.proper import accuracy, negative_log_likelihood
from models.training.classifier.rows import PixelRows

ROWS_AT_ONCE = 250


@dataclass(frozen=True, slots=True)
class Judged:
    """Means over held-out images: NLL in nats, ECE of 15 equal-width bins."""

    nll: float
    accuracy: float
    confidence: float
    ece: float


def judge(network: nn.Module, rows: PixelRows, device: torch.device, precision: str) -> Judged:
    """In eval mode, which the network is left in."""
    logits = torch.cat(list(_logits(network.eval(), rows, device, precision)))
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    return Judged(
        nll=negative_log_likelihood(logits, rows.labels),
        accuracy=accuracy(logits, rows.labels),
        confidence=float(confidence.mean()),
        ece=expected_calibration_error(confidence, predicted == rows.labels),
    )


def in_precision(device: torch.device, precision: str) -> torch.autocast:
    """Convolutions and products in bfloat16 where the plan says so; weights stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def logits_of(output: Tensor | object) -> Tensor:
    """float32 (N, C) of what a network returns; networks of transformers return more than logits."""
    found = output if isinstance(output, Tensor) else output.logits  # type: ignore[attr-defined]
    return found.float()


@torch.no_grad()
def _logits(network: nn.Module, rows: PixelRows, device: torch.device, precision: str) -> Iterator[Tensor]:
    for places in torch.arange(len(rows)).split(ROWS_AT_ONCE):  # type: ignore[no-untyped-call]
        pixels, _ = rows.read(places)
        with in_precision(device, precision):
            output = network(rows.images(pixels, device))
        yield logits_of(output).cpu()
