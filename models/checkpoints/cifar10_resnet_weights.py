"""Trains the network that `cifar10-resnet` ships: `python -m models.checkpoints.cifar10_resnet_weights`.

Takes about two hours on a core; ended and begun again it goes on where it was. `cifar10_resnet.py` makes the
checkpoint.
"""

import argparse
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from models.backbones import backbone_kind
from models.checkpoints.shipped import FOLDER
from models.checkpoints.upstream import rows_of
from models.core.atomic import json_bytes, write_bytes
from models.core.device import machine, use_cores
from models.core.input_spec import InputSpec
from models.data.image_archive import ImageArchive
from models.data.splits import fingerprint, split
from models.training.classifier.data_phase import EpochPoint
from models.training.classifier.decoded import decode
from models.training.classifier.initial import initial_network
from models.training.classifier.plan import Augmentation, TrainPlan
from models.training.classifier.rows import PixelRows
from models.training.classifier.scope import head_name
from models.training.classifier.training import train_classifier

KIND, NAME, ARGUMENTS = "howsure", "resnet9", {"num_classes": 10, "widths": [16, 64, 128, 256]}
INPUT_SPEC = InputSpec(
    height=32, width=32, resize=32, interpolation="bilinear", mean=(0.4914, 0.4822, 0.4465), std=(0.247, 0.2435, 0.2616)
)
SEED = 20261122
HELD_OUT = 5000  # of the 50,000 training images: the checkpoint's calibrator and scores are fitted on them
FIRST = TrainPlan(
    epochs=24,
    rate=0.2,
    schedule="linear",
    warm_up=0.2,
    augmentation=Augmentation(flip=0.5, shift=0.125, cutout=0.25),
    seed=SEED,
)
# From the weights of the first one, which is short, the rate goes up and down again: warm restarts (arXiv 1608.03983).
SECOND = replace(FIRST, epochs=12, rate=0.1, warm_up=0.1, averaging=0.995, seed=SEED + 1)
CYCLES = (FIRST, SECOND, replace(SECOND, seed=SEED + 2))
WEIGHTS = FOLDER / "weights" / "cifar10-resnet.safetensors"

log = logging.getLogger(__name__)


def build(data: Path, folder: Path, path: Path) -> None:
    """Write the weights to `path`. The same machine and releases give the same bytes."""
    use_cores(1)  # the number of threads decides the order of sums
    folder.mkdir(parents=True, exist_ok=True)
    images = ImageArchive(data / "cifar10_train.npz")
    held, trained = parts(images)
    rows, held_out = (_decoded(images, names, folder) for names in (trained, held))
    network = initial_network(KIND, NAME, ARGUMENTS, "he", SEED)
    head = head_name(network, backbone_kind(KIND).cut)
    curve: list[EpochPoint] = []
    for number, plan in enumerate(CYCLES, start=1):
        found = train_classifier(
            network, head, rows, held_out, plan, torch.device("cpu"), folder / f"cycle_{number}", _told
        )
        network.load_state_dict(found.state)
        curve += [replace(point, epoch=len(curve) + point.epoch) for point in found.curve]
    told = {
        "plans": [asdict(plan) for plan in CYCLES],
        "data": {"name": images.name, "sha256": images.sha256, "rows": len(trained), "rows_held_out": len(held)},
        "fingerprint": fingerprint(trained),
        "curve": [asdict(point) for point in curve],
        "machine": machine(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, safetensors.torch.save(found.state, {"training": json_bytes(told).decode()}))


def parts(images: ImageArchive) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the rows that are held out, and of those that are trained on."""
    held, trained = split(images.names, SEED, HELD_OUT, len(images.names) - HELD_OUT)
    return held, trained


def _decoded(images: ImageArchive, names: tuple[str, ...], folder: Path) -> PixelRows:
    return decode(rows_of(images, names), INPUT_SPEC, folder / f"{len(names)}.npy", lambda done: None).rows


def _told(phase: str, step: int, steps: int, point: Mapping[str, Any] | None) -> None:
    if point is not None:
        log.info("%s, step %d of %d: %s", phase, step, steps, point)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(os.environ.get("HOWSURE_TEST_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=default, help="folder with cifar10_train.npz")
    parser.add_argument("--folder", type=Path, default=Path("build/cifar10_resnet"), help="where its state is kept")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    build(arguments.data, arguments.folder, arguments.out)


if __name__ == "__main__":
    main()
