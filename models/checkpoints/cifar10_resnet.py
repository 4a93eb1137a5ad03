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
import torch
from torch import nn

from models.backbones.prepared import PreparedNetwork, build_network, prepare
from models.calibration import CALIBRATORS, calibrator
from models.checkpoints import cifar10_resnet_weights as training
from models.checkpoints.package_weights import package_weights
from models.checkpoints.shipped import FOLDER
from models.checkpoints.upstream import rows_of
from models.core.checkpoint import Version, file_sha256, weights_bytes, write_version
from models.core.device import use_cores
from models.core.gradient_plan import GradientPlan
from models.core.manifest import BackboneRecord, DataUse, WeightsOrigin
from models.data.image_archive import ImageArchive
from models.data.splits import split
from models.feature_cache.cache import FeatureCache
from models.feature_cache.fill import fill
from models.feature_cache.forward import ForwardPasses
from models.feature_cache.key import CacheKey
from models.feature_cache.view_plan import ViewPlan
from models.feature_cache.views import CachedViews
from models.training.build import Recipe
from models.training.from_archives import Plan, Rows, build_version, part_of
from models.training.head_plan import HeadPlan
from models.training.held_out_views import held_out_views
from models.training.loss_rank_gate import LossRankGate
from models.training.loss_rank_head import TrainedHead, train_head
from models.training.loss_rank_version import HeadOrigin, judge_head, with_loss_rank
from models.uncertainty import READY

NAME = "cifar10-resnet"
SEED = training.SEED
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
GRADIENTS = GradientPlan(depth=4, directions=1)  # of 17 layers
VIEWS = ViewPlan(count=10, seed=SEED)
HEAD = HeadPlan(width=64, depth=2, passes=4, seed=SEED)
HELD_OUT = 0.1  # of the images whose views the head is trained on

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
    network = build_network(planned.recipe.backbone, package_weights(planned.recipe.backbone))
    version = build_version(planned, network, log.info)
    manifest, record = version.manifest, _training_record()
    trained, archive = record["rows"]["train"], planned.fit.archive
    used = DataUse(archive.name, archive.sha256, "train", trained["rows"], trained["fingerprint"])
    version = replace(
        version, manifest=replace(manifest, data=(used, *manifest.data), report=manifest.report | {"training": record})
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_version(folder, _with_head(version, planned, network, _head(planned, network, cache)))


def _training_record() -> dict[str, Any]:
    """As a job `train` leaves it in a report, so that jobs know the rows that the network was trained on."""
    with safetensors.safe_open(training.WEIGHTS, "pt") as file:
        told = json.loads(file.metadata()["training"])
    data = told["data"]
    split_up = {"data": data["name"], "sha256": data["sha256"], "seed": SEED, "report": 0}
    first, *others = told["plans"]
    return {
        "plan": first,
        "further_plans": others,
        "network": {
            **{"kind": training.KIND, "name": training.NAME, "arguments": training.ARGUMENTS, "initial": "he"},
            **{"seed": SEED, "origin": None, "image_size": training.INPUT_SPEC.width},
        },
        "splits": [
            split_up | {"rows": data["rows"] + data["rows_held_out"], "held_out": data["rows_held_out"]},
        ],
        "rows": {
            "train": {"rows": data["rows"], "fingerprint": told["fingerprint"]},
            "held_out": {"rows": data["rows_held_out"]},
        },
        "curve": told["curve"],
        "noise": None,
        "stopped": f"all {sum(plan['epochs'] for plan in told['plans'])} epochs of {len(told['plans'])} plans are done",
    }


def _head(planned: Plan, network: nn.Module, cache: Path) -> TrainedHead:
    """On views of the rows to fit on; a tenth of the images is held out and says when to stop."""
    rows, cpu = rows_of(planned.fit.archive, planned.fit.names), torch.device("cpu")
    recipe = planned.recipe
    prepared = _prepared(planned, network, recipe.precisions[0])
    key = CacheKey.of(
        recipe.backbone, recipe.input_spec, prepared.precision, GRADIENTS, cpu, rows, views=VIEWS, logits=False
    )
    found = FeatureCache(cache, key)
    passes = ForwardPasses(prepared, rows, VIEWS, at_once=1)
    fill(found, passes, lambda there: log.info("%d of %d views", there, key.total), threads=1)
    views = CachedViews(found)
    places = _held_out(planned.fit.names)
    return train_head(views, held_out_views(views, places), prepared.dimensions, HEAD, None, _told, places)


def _held_out(names: tuple[str, ...]) -> list[int]:
    held = set(split(names, SEED, round(HELD_OUT * len(names)))[0])
    return [place for place, name in enumerate(names) if name in held]


def _with_head(version: Version, planned: Plan, network: nn.Module, trained: TrainedHead) -> Version:
    judged = {}
    for precision in planned.recipe.precisions:
        prepared = _prepared(planned, network, precision)
        method = calibrator(planned.recipe.calibrator)(prepared.dimensions)
        method.load_state(version.method_state(precision, "calibrator"))
        fitting, judging = part_of(prepared, planned.fit), part_of(prepared, planned.judge[0])
        judged[precision] = judge_head(version, prepared, method, trained.head, fitting, judging, SEED)
    origin = HeadOrigin(
        data=asdict(fitting.use()) | {"role": "reference"},
        views=VIEWS.count,
        held_out=len(_held_out(planned.fit.names)),
        seed=SEED,
        best=trained.best,
        curve=trained.curve,
    )
    return with_loss_rank(version, trained.head, judged, LossRankGate("r_auroc"), origin, judging.note)


def _prepared(planned: Plan, network: nn.Module, precision: str) -> PreparedNetwork:
    kind, spec = planned.recipe.backbone.kind, planned.recipe.input_spec
    return prepare(network, kind, spec, torch.device("cpu"), precision, plan=GRADIENTS)


def _told(step: int, steps: int, point: object) -> None:
    if point is not None:
        log.info("step %d of %d: %s", step, steps, point)


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
