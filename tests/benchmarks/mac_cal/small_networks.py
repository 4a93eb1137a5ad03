"""Small CIFAR-10 networks that were trained in four ways, kept on disk."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch

from models.training.classifier.initial import initial_network
from models.training.classifier.plan import Augmentation, TrainPlan
from models.training.classifier.rows import PixelRows
from models.training.classifier.training import train_classifier
from tests.benchmarks.experiments.cifar10_sets import subset, unseen_rows
from tests.benchmarks.mac_cal.observed import Observed, observed

NETWORKS = Path("build/mac_cal/networks")
WIDTHS = (16, 32, 64, 128)
TRAINED_IMAGES, FRESH_IMAGES = 10_000, 5000
PLAN = TrainPlan(
    epochs=20, rate=0.2, warm_up=0.2, augmentation=Augmentation(flip=0.5, shift=0.125), precision="float32"
)
TRAININGS = {
    "cross-entropy": PLAN,
    "label smoothing": replace(PLAN, label_smoothing=0.05),
    "focal": replace(PLAN, loss="flsd53"),
    "mixup": replace(PLAN, mixup=1.0),
}


@lru_cache(maxsize=1)
def small_network(training: str, seed: int) -> Observed:
    """Trained where it is not there yet, which goes on after a kill; `seed` draws images, weights and their order."""
    network = initial_network("howsure", "resnet9", {"widths": WIDTHS}, "he", seed)
    rows = subset(TRAINED_IMAGES + FRESH_IMAGES, seed)
    trained, fresh = _part(rows, 0, TRAINED_IMAGES), _part(rows, TRAINED_IMAGES, TRAINED_IMAGES + FRESH_IMAGES)
    folder = NETWORKS / f"{training}-{seed}".replace(" ", "-")
    plan, cpu = replace(TRAININGS[training], seed=seed), torch.device("cpu")
    found = train_classifier(network, "fc", trained, unseen_rows(), plan, cpu, folder, lambda *step: None)
    network.load_state_dict(found.state)
    return observed(network, trained, fresh, PLAN.precision)


def _part(rows: PixelRows, first: int, end: int) -> PixelRows:
    return PixelRows(rows.pixels[first:end], rows.labels[first:end], rows.spec)
