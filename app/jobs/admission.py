"""Refuses a job before it is queued where it could only fail: unknown model or data, wrong labels, too few rows."""

from typing import Any

from app.datasets.catalog import DatasetCatalog
from app.datasets.record import DatasetRecord
from app.errors import InvalidError
from models.calibration import CALIBRATORS
from models.core.errors import DataError
from models.core.manifest import Manifest
from models.core.outputs import Needs
from models.core.store import CheckpointStore
from models.data.labels import label_from_text, label_indexes

FEWEST_ROWS = 20
NEED_FEATURES = frozenset(name for name, kind in CALIBRATORS.items() if Needs.FEATURES in kind.needs)


def check_admission(store: CheckpointStore, datasets: DatasetCatalog, job: Any) -> None:
    """Raises UnknownNameError, NotFoundError, DataError or InvalidError, each with what to change."""
    version = job.params.version or store.active(job.model).version
    manifest = store.read_manifest(job.model, version)
    record = datasets.get(job.dataset)
    _check_form(manifest, record, job.model)
    _check_labels(manifest, record)
    _check_features(record, manifest.calibrator, "/dataset")
    if job.type == "calibrate":
        _check_rows(record, job.params.fit_share)
        _check_features(record, job.params.method, "/params/method")
    elif job.type == "epistemic_reference":
        _check_images(record)
        _check_rows(record, job.params.fit_share)
        _check_exact_rows(record, job.params)
    elif job.type == "loss_rank":
        _check_images(record)
        _check_rows(record, job.params.fit_share)


def _check_form(manifest: Manifest, record: DatasetRecord, model: str) -> None:
    if record.kind == "outputs" and record.columns != len(manifest.classes):
        detail = f"{record.id} has {record.columns} logits a row, but {model} has {len(manifest.classes)} classes"
        raise _refusal("/dataset", detail)


def _check_features(record: DatasetRecord, calibrator: str | None, pointer: str) -> None:
    if calibrator in NEED_FEATURES and record.kind == "outputs" and not record.features:
        raise _refusal(pointer, f"{calibrator} needs features, and {record.id} has only logits")


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
        raise _refusal("/dataset", detail) from error


def _check_rows(record: DatasetRecord, fit_share: float) -> None:
    fitting = round(record.good * fit_share)
    for rows, use in ((fitting, "fit"), (record.good - fitting, "report")):
        if rows < FEWEST_ROWS:
            detail = (
                f"{rows} rows to {use} on, at least {FEWEST_ROWS} are needed: {record.id} has {record.good} good rows"
            )
            raise _refusal("/dataset", detail)


def _check_images(record: DatasetRecord) -> None:
    if record.kind != "images":
        raise _refusal("/dataset", f"{record.id} is a table of outputs: send the images themselves")


def _check_exact_rows(record: DatasetRecord, params: Any) -> None:
    fitting = round(record.good * params.fit_share)
    if params.exact_rows > fitting:
        detail = f"{params.exact_rows} rows to score exactly, but {fitting} are fitted on: ask for no more than those"
        raise _refusal("/params/exact_rows", detail)


def _refusal(pointer: str, detail: str) -> InvalidError:
    return InvalidError(detail, errors=[{"pointer": pointer, "detail": detail}])
