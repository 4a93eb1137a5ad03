"""Builds the shipped checkpoint `cifar10-resnet`: `python -m models.checkpoints.cifar10_resnet`.

The network is trained by `cifar10_resnet_weights.py`. Calibrator, references and loss-rank head are fitted on training
images that it was not trained on, all is reported on test images.
"""

import argparse
import hashlib
import json
import logging
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import safetensors

from models.backbones.prepared import build_network
from models.calibration import CALIBRATORS
from models.checkpoints import cifar10_resnet_weights as training
from models.checkpoints.loss_rank_head import held_out, train_on_views, with_head
from models.checkpoints.package_weights import package_weights
from models.checkpoints.shipped import FOLDER
from models.checkpoints.upstream import rows_of
from models.core.checkpoint import Version, file_sha256, weights_bytes, write_version
from models.core.device import use_cores
from models.core.gradient_plan import GradientPlan
from models.core.manifest import BackboneRecord, DataUse, WeightsOrigin
from models.data.image_archive import ImageArchive
from models.feature_cache.view_plan import ViewPlan
from models.training.build import Recipe
from models.training.from_archives import Plan, Rows, build_version
from models.training.head_plan import HeadPlan
from models.training.loss_rank_version import HeadOrigin
from models.uncertainty import READY

NAME = "cifar10-resnet"
SEED = training.SEED
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
GRADIENTS = GradientPlan(depth=4, directions=1)  # of 17 layers
VIEWS = ViewPlan(count=10, seed=SEED)
HEAD = HeadPlan(width=64, depth=2, passes=4, seed=SEED)

log = logging.getLogger(__name__)


def plan(data: Path) -> Plan:
    """The recipe; `data` holds `cifar10_train.npz` and `cifar10_test_shared.npz`."""
    images, test = ImageArchive(data / "cifar10_train.npz"), ImageArchive(data / "cifar10_test_shared.npz")
    held, _ = training.parts(images)
    recipe = Recipe(
        backbone=record(),
        classes=CLASSES,
        input_spec=training.INPUT_SPEC,
        calibrator="temperature",
        scores=READY,
        precisions=("bfloat16", "float32"),
        seed=SEED,
        compared=tuple(CALIBRATORS),
        gradients=GRADIENTS,
    )
    return Plan(
        recipe=recipe,
        fit=Rows(images, held, "fit", "the network was not trained on these rows, calibrator and references were"),
        judge=(Rows(test, test.names, "report", "test images, neither trained nor fitted on"),),
    )


def record() -> BackboneRecord:
    """The network and its weights, which lie beside this file."""
    path = training.WEIGHTS
    origin = WeightsOrigin("models", f"checkpoints/weights/{path.name}", file_sha256(path))
    unhashed = BackboneRecord(training.KIND, training.NAME, training.ARGUMENTS, "", origin)
    return replace(unhashed, sha256=hashlib.sha256(weights_bytes(package_weights(unhashed))).hexdigest())


def build(data: Path, cache: Path, folder: Path) -> None:
    """Write the version's files into `folder`. The same machine, releases and data give the same bytes."""
    use_cores(1)  # the number of threads decides the order of sums
    planned = plan(data)
    recipe, rows = planned.recipe, rows_of(planned.fit.archive, planned.fit.names)
    network = build_network(recipe.backbone, package_weights(recipe.backbone))
    version = _with_training(build_version(planned, network, log.info), planned)
    trained = train_on_views(recipe, network, rows, VIEWS, HEAD, cache, threads=1)
    (fitted,) = (use for use in version.manifest.data if use.role == "fit")
    origin = HeadOrigin(
        data=asdict(replace(fitted, role="reference")),
        views=VIEWS.count,
        held_out=len(held_out(rows.names, SEED)),
        seed=SEED,
        best=trained.best,
        curve=trained.curve,
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_version(folder, with_head(version, planned, network, trained.head.state(), origin))


def _with_training(version: Version, planned: Plan) -> Version:
    """With a record of the network's training, so that jobs leave out the rows that it saw."""
    manifest, record, archive = version.manifest, _training_record(), planned.fit.archive
    trained = record["rows"]["train"]
    used = DataUse(archive.name, archive.sha256, "train", trained["rows"], trained["fingerprint"])
    data, report = (used, *manifest.data), manifest.report | {"training": record}
    return replace(version, manifest=replace(manifest, data=data, report=report))


def _training_record() -> dict[str, Any]:
    """As a job `train` leaves it in a report."""
    with safetensors.safe_open(training.WEIGHTS, "pt") as file:
        told = json.loads(file.metadata()["training"])
    data, (first, *others) = told["data"], told["plans"]
    there = {"rows": data["rows"] + data["rows_held_out"], "held_out": data["rows_held_out"], "report": 0}
    return {
        "plan": first,
        "further_plans": others,
        "network": {
            "kind": training.KIND,
            "name": training.NAME,
            "arguments": training.ARGUMENTS,
            "initial": "he",
            "seed": SEED,
            "origin": None,
            "image_size": training.INPUT_SPEC.width,
        },
        "splits": [{"data": data["name"], "sha256": data["sha256"], "seed": SEED, **there}],
        "rows": {
            "train": {"rows": data["rows"], "fingerprint": told["fingerprint"]},
            "held_out": {"rows": data["rows_held_out"]},
        },
        "curve": told["curve"],
        "noise": None,
        "stopped": f"all {sum(plan['epochs'] for plan in told['plans'])} epochs of {len(told['plans'])} plans are done",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(os.environ.get("HOWSURE_TEST_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=default, help="folder with the CIFAR-10 files")
    parser.add_argument("--cache", type=Path, default=Path("build/cifar10_resnet/cache"), help="for features of views")
    parser.add_argument("--out", type=Path, default=FOLDER / NAME, help="where the version's files go")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    build(arguments.data, arguments.cache, arguments.out)


if __name__ == "__main__":
    main()
