"""Refuses a job before it is queued where it could only fail: unknown model or data, wrong labels, too few rows."""

from typing import Any

from app.datasets.catalog import DatasetCatalog
from app.datasets.record import DatasetRecord
from app.jobs.language.admission import check_on_prompts
from app.jobs.language.methods import FOR_IMAGES
from app.jobs.refusals import NO_IMAGES, check_images, check_rows, refusal
from app.jobs.training.admission import check_train
from app.jobs.training.split import trained_count
from models.calibration import CALIBRATORS
from models.core.errors import DataError
from models.core.manifest import Manifest
from models.core.outputs import Needs
from models.core.store import CheckpointStore
from models.data.labels import label_from_text, label_indexes

NEED_FEATURES = frozenset(name for name, kind in CALIBRATORS.items() if Needs.FEATURES in kind.needs)


def check_admission(store: CheckpointStore, datasets: DatasetCatalog, job: Any) -> None:
    """Raises UnknownNameError, NotFoundError, DataError or InvalidError, each with what to change."""
    if job.type == "train":
        check_train(store, datasets.get(job.dataset), job.model, job.params.model_dump())
        return
    version = job.params.version or store.active(job.model).version
    manifest = store.read_manifest(job.model, version)
    record = datasets.get(job.dataset)
    if manifest.prompts is not None:
        check_on_prompts(manifest, record, job)
        return
    _check_params(job)
    _check_form(manifest, record, job.model)
    _check_labels(manifest, record)
    _check_features(record, manifest.calibrator, "/dataset")
    trained = trained_count(manifest, record.sha256)
    if job.type == "calibrate":
        check_rows(record, job.params.fit_share, trained)
        _check_features(record, job.params.method, "/params/method")
    elif job.type == "epistemic_reference":
        check_images(record)
        check_rows(record, job.params.fit_share, trained)
        _check_exact_rows(record, job.params, trained)
    elif job.type == "loss_rank":
        check_images(record)
        check_rows(record, job.params.fit_share, trained)


def _check_params(job: Any) -> None:
    if getattr(job.params, "readout", None) is not None:
        raise refusal("/params/readout", f"a readout is of prompts, and {job.model} takes images: leave it out")
    if job.type == "calibrate" and job.params.method not in FOR_IMAGES:
        detail = f"{job.params.method} is of language models, and {job.model} takes images: choose another method"
        raise refusal("/params/method", detail)


def _check_form(manifest: Manifest, record: DatasetRecord, model: str) -> None:
    if record.kind in ("questions", "completions"):
        detail = f"{record.id} {NO_IMAGES[record.kind]}, and {model} takes images: send labelled images"
        raise refusal("/dataset", detail)
    if record.kind == "outputs" and record.columns != len(manifest.classes):
        detail = f"{record.id} has {record.columns} logits a row, but {model} has {len(manifest.classes)} classes"
        raise refusal("/dataset", detail)


def _check_features(record: DatasetRecord, calibrator: str | None, pointer: str) -> None:
    if calibrator in NEED_FEATURES and record.kind == "outputs" and not record.features:
        raise refusal(pointer, f"{calibrator} needs features, and {record.id} has only logits")


def _check_labels(manifest: Manifest, record: DatasetRecord) -> None:
    if record.labels is None:
        return
    try:
        label_indexes({label: label_from_text(label) for label in record.labels}, manifest.classes)
    except DataError as error:
        wrong = {label: record.labels[label] for label, _ in error.bad}
        if not wrong:
            raise
        label = next(iter(wrong))
        detail = (
            f"label {label!r} is no class of the model, which has {len(manifest.classes)}; {sum(wrong.values())} of"
            f" {record.good} rows have such labels: mend them, or is this the data of another model?"
        )
        raise refusal("/dataset", detail) from error


def _check_exact_rows(record: DatasetRecord, params: Any, trained: int) -> None:
    fitting = round((record.good - trained) * params.fit_share)
    if params.exact_rows > fitting:
        detail = f"{params.exact_rows} rows to score exactly, but {fitting} are fitted on: ask for no more than those"
        raise refusal("/params/exact_rows", detail)
