"""The stage of a job `train` that trains: from pixels to a version that has neither calibrator nor scores yet."""

from collections.abc import Collection
from dataclasses import asdict, replace
from typing import Any

from app.jobs.bench import Bench
from app.jobs.publishing import keep
from app.jobs.stage import StageContext
from app.jobs.training.plan import plan_of
from app.jobs.training.preparation import FOLDER, Preparation, pixels_path
from app.jobs.training.progress import TrainProgress
from app.jobs.training.split import splits_of
from app.jobs.training.start import Origin, begin
from models.backbones import backbone_kind
from models.core.checkpoint import Version
from models.core.device import on_cores
from models.core.manifest import BackboneRecord, DataUse, Manifest
from models.data.splits import fingerprint
from models.registration import unfitted_version
from models.training.classifier.launched import train_on_several
from models.training.classifier.plan import TrainPlan
from models.training.classifier.rank_files import NetworkRecipe, PixelFile, Recipe
from models.training.classifier.scope import head_name
from models.training.classifier.training import TrainedClassifier, train_classifier

PARTS = ("trained", "held_out")
TRAINED = "trained"  # folder of the version without calibrator and scores


def train(context: StageContext) -> dict[str, Any]:
    """Train, from where an attempt before was interrupted, and keep a version without calibrator and scores."""
    bench, found = Bench(context), Preparation.read(context.folder)
    plan = replace(plan_of(context.spec.params, len(found.trained), bench.device), precision=found.precision)
    # The number of threads decides the order of sums, and so the last digits of the weights.
    with on_cores(bench.settings.cores):
        trained = _trained(bench, found, plan) if found.devices == 1 else _trained_together(bench, found, plan)
    keep(context, _version(bench, found, plan, trained), TRAINED)
    context.log(f"trained: {trained.stopped}")
    return {"epochs": len(trained.curve)}


def _trained(bench: Bench, found: Preparation, plan: TrainPlan) -> TrainedClassifier:
    context, network = bench.context, begin(found.start, bench.store)
    head = head_name(network, backbone_kind(found.start.kind).cut)
    rows, held_out = (found.rows(context.folder, part, bench.whole.labels) for part in PARTS)
    told = TrainProgress(context, plan).told
    return train_classifier(network, head, rows, held_out, plan, bench.device, context.folder / FOLDER, told)


def _trained_together(bench: Bench, found: Preparation, plan: TrainPlan) -> TrainedClassifier:
    """By a process a device."""
    context, start = bench.context, found.start
    network = NetworkRecipe(start.kind, start.name, start.arguments, begin(start, bench.store).state_dict())
    rows, held_out = (
        PixelFile(pixels_path(context.folder, part), found.rows(context.folder, part, bench.whole.labels).labels)
        for part in PARTS
    )
    recipe = Recipe(network, found.spec, rows, held_out, plan, bench.device.type)
    return train_on_several(found.devices, recipe, context.folder / FOLDER, TrainProgress(context, plan).told)


def _version(bench: Bench, found: Preparation, plan: TrainPlan, trained: TrainedClassifier) -> Version:
    start, data = found.start, found.split
    sha256 = bench.store.add_weights(trained.state)
    record = BackboneRecord(start.kind, start.name, start.arguments, sha256)
    version = unfitted_version(record, trained.state, found.spec, found.classes)
    use = DataUse(data.data, data.sha256, "train", len(found.trained), fingerprint(found.trained))
    before = _manifest_of(bench, start.origin)
    splits = [each for each in (splits_of(before) if before else ()) if each.sha256 != data.sha256]
    earlier = [each for each in before.data if each.role == "train" and each != use] if before else []
    training = {
        "plan": asdict(plan),
        "network": start.to_dict() | {"image_size": found.spec.width},
        "splits": [asdict(each) for each in (data, *splits)],
        "rows": {"train": _rows(found.trained), "held_out": _rows(found.held_out), "report": _rows(found.report)},
        "curve": [asdict(point) for point in trained.curve],
        "noise": trained.noise and trained.noise.to_dict(),
        "stopped": trained.stopped,
    }
    manifest = version.manifest
    report = manifest.report | {"training": training}
    return replace(version, manifest=replace(manifest, data=(use, *earlier), report=report))


def _manifest_of(bench: Bench, origin: Origin | None) -> Manifest | None:
    return None if origin is None else bench.store.read_manifest(origin.model, origin.version)


def _rows(names: Collection[str]) -> dict[str, Any]:
    return {"rows": len(names), "fingerprint": fingerprint(names)}
