"""The first stage of a job `train`: which rows are for what, the classes, first weights, and images as pixels."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from app.jobs.bench import Bench
from app.jobs.stage import StageContext
from app.jobs.training.classes import classes_of, keeps_classes
from app.jobs.training.images import input_spec_of, normalisation
from app.jobs.training.plan import plan_of
from app.jobs.training.preparation import FOLDER, Preparation, pixels_path, refuse_many_bad
from app.jobs.training.progress import PREPARED, SECONDS
from app.jobs.training.split import TrainSplit, sizes, split_of
from app.jobs.training.start import Origin, Start, check, from_version, untrained
from models.core.device import device_count
from models.core.errors import DataError
from models.core.manifest import Manifest
from models.data.dataset import ImageDataset
from models.data.labels import label_counts, label_indexes
from models.feature_cache.image_rows import ImageRows
from models.training.classifier.decoded import decode


@dataclass(frozen=True, slots=True)
class _Base:
    model: str
    version: int
    manifest: Manifest


def prepare(context: StageContext) -> dict[str, Any]:
    """Decide which rows are for what, the classes, the first weights and the input size; decode what is trained on."""
    bench = Bench(context)
    images = _images(bench)
    base = _base(bench)
    found = _decided(bench, images, base)
    check(found.start, bench.store, found.spec)
    (context.folder / FOLDER).mkdir(exist_ok=True)
    for part in ("trained", "held_out"):
        found = _with_pixels(context, images, found, part)
    if context.spec.params["mean"] is None and base is None:
        pixels = found.rows(context.folder, "trained", images.labels).pixels
        found = found.normalised(*normalisation(pixels))
    found.write(context.folder)
    context.log(_told(images, found))
    return {}


def _images(bench: Bench) -> ImageDataset:
    if not isinstance(bench.whole, ImageDataset):
        raise DataError(f"{bench.whole.name} is a table of outputs: send the images themselves")
    return bench.whole


def _base(bench: Bench) -> _Base | None:
    """The version to start from: as asked, else the active one."""
    wanted = bench.spec.params["start_from"]
    if wanted is None:
        return None
    model = wanted["model"] or bench.spec.model
    version = wanted["version"] or bench.store.active(model).version
    return _Base(model, version, bench.store.read_manifest(model, version))


def _decided(bench: Bench, images: ImageDataset, base: _Base | None) -> Preparation:
    params, store, model = bench.spec.params, bench.store, bench.spec.model
    classes = classes_of(label_counts(images.labels))
    if base is not None and keeps_classes(base.manifest.classes, classes):
        classes = base.manifest.classes
    split = _split(bench, images, base)
    held_out, report, trained = split.parts(images.names)
    _refuse_untrained_classes(images, trained)
    kind = base.manifest.backbone.kind if base else params["network"]["kind"]
    spec = input_spec_of(params, base.manifest.image_input if base else None, kind, images, trained)
    return Preparation(
        start=_start(params, base, classes, spec.width),
        classes=classes,
        spec=spec,
        precision=plan_of(params, len(trained), bench.device).precision,
        devices=params["devices"] or device_count(bench.device),
        split=split,
        trained=trained,
        held_out=held_out,
        report=report,
        rival=store.active(model).version if model in store.models() else None,
    )


def _start(params: Mapping[str, Any], base: _Base | None, classes: tuple[str, ...], side: int) -> Start:
    if base is None:
        return untrained(params, len(classes), side)
    origin = Origin(base.model, base.version, keeps_head=classes == base.manifest.classes)
    return from_version(base.manifest, origin, len(classes), side, params["seed"])


def _split(bench: Bench, images: ImageDataset, base: _Base | None) -> TrainSplit:
    """That of the base version where it was trained on these data, so that rows held out then are held out again."""
    params, rows = bench.spec.params, len(images.names)
    before = split_of(base.manifest, images.sha256) if base else None
    if before is not None:
        bench.context.log("the rows are split as for the version to start from, which was trained on these data")
        return before
    held_out, report = sizes(rows, params["held_out_share"], params["report_share"])
    return TrainSplit(images.name, images.sha256, params["seed"], rows, held_out, report)


def _refuse_untrained_classes(images: ImageDataset, trained: Sequence[str]) -> None:
    missing = set(images.labels.values()) - {images.labels[name] for name in trained}
    if missing:
        named = ", ".join(map(repr, sorted(map(str, missing))[:5]))
        raise DataError(f"no row of class {named} is left to train on: send more rows of it, or take another seed")


def _with_pixels(context: StageContext, images: ImageDataset, found: Preparation, part: str) -> Preparation:
    names: tuple[str, ...] = getattr(found, part)
    labels = label_indexes({name: images.labels[name] for name in names}, found.classes)
    rows = ImageRows(names, np.array(labels, np.int64), images.contents, images.sha256)
    last = time.monotonic()

    def told(done: int) -> None:
        nonlocal last
        if time.monotonic() - last > SECONDS:
            last = time.monotonic()
            context.report(0.0, f"{done} of {len(names)} images decoded")

    decoded = decode(rows, found.spec, pixels_path(context.folder, part), told)
    for name, reason in decoded.bad:
        context.log(f"left out {name}: {reason}")
    refuse_many_bad(decoded.bad, len(names))
    context.report(PREPARED, "images decoded")
    return replace(found, **{part: decoded.names})  # type: ignore[arg-type]


def _told(images: ImageDataset, found: Preparation) -> str:
    start, spec = found.start, found.spec
    begun = f"version {start.origin.version} of {start.origin.model}" if start.origin else f"{start.kind} {start.name}"
    return (
        f"{images.name}: {len(found.trained)} rows to train {begun} on for {len(found.classes)} classes,"
        f" {len(found.held_out)} held out, {len(found.report)} to report on; {spec.height} x {spec.width} pixels"
    )
