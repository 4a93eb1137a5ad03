"""Refuses a job `train` before it is queued where it could only fail."""

from collections.abc import Mapping
from typing import Any

import torch

from app.datasets.record import DatasetRecord
from app.jobs.refusals import check_images, refusal
from app.jobs.training.classes import classes_of
from app.jobs.training.split import sizes
from models.backbones import backbone_kind
from models.core.errors import DataError, ModelSideError
from models.core.manifest import Manifest
from models.core.store import MODEL_NAME, CheckpointStore
from models.training.classifier.networks import arguments_for

QUICK = "howsure"  # the kind whose networks are built without loading a library


def check_train(store: CheckpointStore, record: DatasetRecord, model: str, params: Mapping[str, Any]) -> None:
    """`model` may be new. Raises InvalidError, or UnknownNameError for a version to start from that is not there."""
    if not MODEL_NAME.fullmatch(model):
        raise refusal("/model", f"{model!r} is no model name: lower-case letters, digits, dots and dashes")
    check_images(record)
    if model in store.models():
        _check_classifier(store.read_manifest(model, store.active(model).version), "/model", model)
    classes = _checked_data(record, params)
    start = params["start_from"]
    if start is None:
        _check_network(params["network"], classes)
        return
    base = start["model"] or model
    found = store.read_manifest(base, start["version"] or store.active(base).version)
    _check_classifier(found, "/params/start_from/model", base)


def _check_classifier(manifest: Manifest, pointer: str, model: str) -> None:
    if manifest.prompts is not None:
        raise refusal(pointer, f"{model} is a language model, and what is trained are classifiers: name another model")


def _checked_data(record: DatasetRecord, params: Mapping[str, Any]) -> int:
    """The number of classes."""
    try:
        sizes(record.good, params["held_out_share"], params["report_share"])
        return record.classes if record.labels is None else len(classes_of(record.labels))
    except DataError as error:
        raise refusal("/dataset", f"{record.id}: {error}") from error


def _check_network(wanted: Mapping[str, Any], classes: int) -> None:
    """Those of other libraries are built when the job begins, which then says what is wrong."""
    if wanted["kind"] != QUICK:
        return
    arguments = arguments_for(wanted["kind"], wanted["name"], wanted["arguments"], classes, side=32)
    try:
        # Shapes without memory: whoever asks for too large a network shall not fill that of the server.
        with torch.device("meta"):
            backbone_kind(wanted["kind"]).build(wanted["name"], arguments)
    except (ModelSideError, RuntimeError) as error:
        raise refusal("/params/network", str(error)) from error
