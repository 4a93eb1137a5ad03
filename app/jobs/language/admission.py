"""Refuses a job on a language model before it is queued where it could only fail."""

from collections.abc import Mapping
from typing import Any

from app.datasets.record import DatasetRecord
from app.jobs.language.methods import FOR_PROMPTS, TOKEN_TEMPERATURE
from app.jobs.language.readouts import is_fitted
from app.jobs.refusals import check_rows, refusal
from models.core.manifest import Manifest
from models.core.prompt_spec import Readout
from models.language.calibrators import DIRECTION, FEWEST_OF_TASK, TASK_TEMPERATURE
from models.language.few_shot_recalibration import FEW_SHOT, FewShotPlan

TYPES = ("calibrate", "loss_rank", "evaluate")
FEWEST_OF_SLICE = 2 * (FewShotPlan().shown + 1)  # those shown and one more, to fit on and to report on


def check_on_prompts(manifest: Manifest, record: DatasetRecord, job: Any) -> None:
    """`manifest` is of the version that the job starts from. Raises InvalidError with what to change."""
    if job.type not in TYPES:
        detail = f"{job.type} is for classifiers of images, and {job.model} is a language model: {', '.join(TYPES)}"
        raise refusal("/type", detail)
    _check_kind(record, job)
    if job.type == "calibrate":
        check_rows(record, job.params.fit_share)
        _check_method(record, job)
        if job.params.method == FEW_SHOT:
            _check_readout(manifest, job)
    elif job.type == "loss_rank":
        check_rows(record, job.params.fit_share)
        _check_head(manifest, job)


def _check_kind(record: DatasetRecord, job: Any) -> None:
    of_tokens = job.type == "calibrate" and job.params.method == TOKEN_TEMPERATURE
    if record.kind == "questions" or (of_tokens and record.kind == "completions"):
        return
    if record.kind == "completions":
        detail = f"{record.id} has answers without choices, which are for calibrate with the method {TOKEN_TEMPERATURE}"
    else:
        detail = f"{record.id} has no questions, and {job.model} is a language model: send questions as .jsonl"
    raise refusal("/dataset", detail)


def _check_method(record: DatasetRecord, job: Any) -> None:
    method, readout = job.params.method, job.params.readout
    if method not in FOR_PROMPTS:
        detail = f"{method} is for classifiers of images, and {job.model} is a language model: {', '.join(FOR_PROMPTS)}"
        raise refusal("/params/method", detail)
    if method == DIRECTION and readout not in (None, Readout.NEXT_TOKEN):
        raise refusal("/params/readout", f"{DIRECTION} changes the next token alone: leave the readout out")
    if method == TOKEN_TEMPERATURE and readout is not None:
        raise refusal("/params/readout", f"{TOKEN_TEMPERATURE} is of answers without choices: leave the readout out")
    if method == TASK_TEMPERATURE and record.tasks is not None:
        _check_tasks(record.id, record.tasks)
    if method == FEW_SHOT and record.tasks is not None:
        _check_slices(record.id, record.tasks)


def _check_tasks(dataset: str, tasks: Mapping[str, int]) -> None:
    """`tasks` has the good rows of each, of which the job fits on a share only."""
    if not tasks:
        detail = f"{TASK_TEMPERATURE} needs rows with a `task` or `subject`, and {dataset} has none"
        raise refusal("/params/method", detail)
    if max(tasks.values()) < FEWEST_OF_TASK:
        detail = (
            f"{TASK_TEMPERATURE} fits on at least {FEWEST_OF_TASK} rows of a task, and the largest of {dataset} has"
            f" {max(tasks.values())}: send more rows, or use temperature"
        )
        raise refusal("/params/method", detail)


def _check_slices(dataset: str, tasks: Mapping[str, int]) -> None:
    large = sum(rows >= FEWEST_OF_SLICE for rows in tasks.values())
    if large < 2:
        detail = (
            f"{FEW_SHOT} needs two tasks with {FEWEST_OF_SLICE} rows or more, and {dataset} has {large}: send more rows"
            " of each, and name it in their `task` or `subject`"
        )
        raise refusal("/dataset", detail)


def _check_head(manifest: Manifest, job: Any) -> None:
    _check_readout(manifest, job)
    if job.params.gate.measure == "r_auroc":
        detail = "r_auroc is of images of one class: judge prompts by auroc or spearman"
        raise refusal("/params/gate/measure", detail)


def _check_readout(manifest: Manifest, job: Any) -> None:
    """What stays of the version was fitted for its readout, so what is new must be as well."""
    own, readout = manifest.prompts, job.params.readout
    if own is not None and is_fitted(manifest) and readout not in (None, own.readout):
        detail = f"the version is fitted for choices read as {own.readout}: leave the readout out, or calibrate first"
        raise refusal("/params/readout", detail)
