"""The plan of a job `train` out of its parameters, and the names that they may have."""

from collections.abc import Mapping
from typing import Any

import torch

from models.backbones import BACKBONES
from models.calibration import CALIBRATORS
from models.core.device import fast_bfloat16
from models.training.classifier.initial import AS_BUILT, INITIALS
from models.training.classifier.losses import LOSSES
from models.training.classifier.optimisers import OPTIMISERS
from models.training.classifier.plan import (
    DISTRIBUTIONS,
    PRECISIONS,
    RULES,
    SCOPES,
    Augmentation,
    NoiseWarmUp,
    TrainPlan,
)
from models.training.classifier.schedules import SCHEDULES

AUTO = "auto"
NAMES: dict[str, tuple[str, ...]] = {
    "kind": tuple(BACKBONES),
    "calibrator": (AUTO, *CALIBRATORS),
    "initial": (*INITIALS, AS_BUILT),
    "optimiser": tuple(OPTIMISERS),
    "schedule": tuple(SCHEDULES),
    "loss": tuple(LOSSES),
    "precision": (AUTO, *PRECISIONS),
    "scope": SCOPES,
    "learning_rule": RULES,
    "distribution": DISTRIBUTIONS,
}
AS_GIVEN = (
    "epochs",
    "optimiser",
    "momentum",
    "weight_decay",
    "schedule",
    "warm_up",
    "loss",
    "label_smoothing",
    "mixup",
    "averaging",
    "patience",
    "scope",
    "learning_rule",
    "seed",
)
RATES = {"sgd": 0.1}  # for the largest batch, and in proportion for smaller ones
OTHER_RATE = 1e-3
FINE_TUNING = 0.1  # ours: of the rate from scratch
# Ours: of few rows large batches would give a handful of steps, in which not even the batch norms settle.
LARGEST_BATCH, SMALLEST_BATCH, STEPS_OF_EPOCH = 128, 16, 25


def plan_of(params: Mapping[str, Any], rows: int, device: torch.device) -> TrainPlan:
    """For so many rows; `params` as `TrainParams` has checked them. Raises ValueError where two do not go together."""
    batch = params["batch"] or min(LARGEST_BATCH, max(SMALLEST_BATCH, rows // STEPS_OF_EPOCH))
    precision = params["precision"]
    if precision == AUTO:
        precision = "bfloat16" if fast_bfloat16(device) else "float32"
    noise = params["noise_warmup"]
    return TrainPlan(
        **{name: params[name] for name in AS_GIVEN},
        batch=batch,
        rate=params["rate"] or _rate(params, batch),
        precision=precision,
        augmentation=Augmentation(**params["augmentation"]),
        noise_warmup=None if noise is None else NoiseWarmUp(**noise),
    )


def check_plan(params: Mapping[str, Any]) -> None:
    """Raises ValueError where two parameters do not go together."""
    plan_of(params, LARGEST_BATCH, torch.device("cpu"))


def _rate(params: Mapping[str, Any], batch: int) -> float:
    largest = RATES.get(params["optimiser"])
    rate = OTHER_RATE if largest is None else largest * batch / LARGEST_BATCH
    return rate * FINE_TUNING if params["start_from"] else rate
