"""What a training tells the job's reader: figures of each epoch, and how far it is in between."""

import time
from collections.abc import Mapping
from typing import Any

from app.jobs.stage import StageContext
from models.training.classifier.plan import TrainPlan
from models.training.classifier.training import NOISE

PREPARED, TRAINED = 0.05, 0.75  # progress at the beginning and the end of the training
NOISE_SHARE = 0.2  # ours: of the training's progress, where it has a noise phase
SECONDS = 0.5  # between two reports that have no figures


class TrainProgress:
    """`told` is called after every step."""

    def __init__(self, context: StageContext, plan: TrainPlan) -> None:
        self.context, self.plan = context, plan
        self.noise_share = NOISE_SHARE if plan.noise_warmup else 0.0
        self._last = 0.0

    def told(self, phase: str, step: int, steps: int, point: Mapping[str, Any] | None) -> None:
        if point is None and time.monotonic() - self._last < SECONDS:
            return
        self._last = time.monotonic()
        share, message = self._noise(step, steps) if phase == NOISE else self._data(step, steps)
        metrics = {} if point is None else (noise_metrics(point) if phase == NOISE else epoch_metrics(point))
        self.context.report(PREPARED + (TRAINED - PREPARED) * share, message, metrics)

    def _noise(self, step: int, steps: int) -> tuple[float, str]:
        return self.noise_share * step / steps, f"warm-up on noise, step {step} of at most {steps}"

    def _data(self, step: int, steps: int) -> tuple[float, str]:
        epoch = -(-step * self.plan.epochs // steps)
        share = self.noise_share + (1 - self.noise_share) * step / steps
        return share, f"epoch {epoch} of {self.plan.epochs}, step {step} of {steps}"


def epoch_metrics(point: Mapping[str, Any]) -> dict[str, float]:
    """Of an `EpochPoint` as a dict."""
    held_out = point["held_out"]
    trained = {f"train_{name}": point[name] for name in ("loss", "accuracy")}
    return trained | {f"held_out_{name}": held_out[name] for name in ("nll", "accuracy", "confidence", "ece")}


def noise_metrics(check: Mapping[str, Any]) -> dict[str, float]:
    """Of a `NoiseCheck` as a dict."""
    found = {"noise_loss": check["loss"], "noise_confidence": check["confidence"]}
    return {name: value for name, value in found.items() if value is not None} | {
        "unseen_image_confidence": check["image_confidence"]
    }
