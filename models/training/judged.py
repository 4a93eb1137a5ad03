"""The record of one part of the rows in a report: every measure, before and after, beside what serves."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from models.metrics.evaluation import Evaluation, evaluate
from models.training.labelled_outputs import LabelledOutputs

RAW = "none"  # the network's own logits, in a comparison


def judge(found: LabelledOutputs, logits: Tensor, seed: int) -> Evaluation:
    """Every measure of these logits (N, C) for the rows of `found`; choices that a row does not have do not count."""
    outputs = found.outputs
    return evaluate(outputs.masked(logits), found.labels, features=outputs.features, seed=seed)


def judged_record(
    about: Mapping[str, Any],
    found: LabelledOutputs,
    candidates: Mapping[str, Tensor],
    chosen: str,
    *,
    active: Tensor | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Every measure of the network alone (`before`) and with the chosen calibrator (`after`), beside what is said
    `about` the rows.

    `candidates` are calibrated logits (N, C) by calibrator; `compared` has their measures that are one number.
    `active` are the logits of the version that serves.
    """
    judged = {RAW: judge(found, found.outputs.logits, seed)}
    for name, logits in candidates.items():
        judged[name] = judge(found, logits, seed)
    record = {
        **about,
        "calibrator": chosen,
        "before": judged[RAW].to_dict(),
        "after": judged[chosen].to_dict(),
        "compared": {name: _numbers(each.to_dict()) for name, each in judged.items()},
    }
    if active is not None:
        record["active"] = judge(found, active, seed).to_dict()
    return record


def _numbers(evaluation: Mapping[str, Any]) -> dict[str, float | None]:
    """The measures that are one number; of an interval its middle."""
    middles = {
        name: part["value"] if isinstance(part, Mapping) and "value" in part else part
        for name, part in evaluation.items()
    }
    return {name: value for name, value in middles.items() if value is None or isinstance(value, float | int)}
