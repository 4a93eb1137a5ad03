"""One version of a language model out of two that were fitted on the same rows in different precisions.

A machine may be fast in one precision and very slow in another, so each may be fitted where it is cheap.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from models.core.checkpoint import Version
from models.core.errors import CheckpointError
from models.core.golden import Golden
from models.core.manifest import Manifest
from models.core.prompt_spec import PromptSpec
from models.language.few_shot_recalibration import FEW_SHOT
from models.training.loss_rank_version import NAME as LOSS_RANK
from models.training.prompts.token_version import TOKENS

SAME = ("backbone", "calibrator", "scores", "data", "seeds", "code_version")  # of both manifests


def with_more_precisions(version: Version, more: Version) -> Version:
    """`version` with what `more` was fitted for; gates and the curve of the loss-rank head are those of `version`.

    Raises CheckpointError unless both were fitted on the same rows in the same way, each in precisions of its own.
    """
    _check(version.manifest, more.manifest)
    ours, theirs = version.manifest, more.manifest
    joined = replace(
        ours,
        precisions=(*ours.precisions, *theirs.precisions),
        machine="; ".join(dict.fromkeys((ours.machine, theirs.machine))),
        prompts=_joined_prompts(_prompts(ours), _prompts(theirs)),
        report=_joined_report(ours.report, theirs.report),
    )
    golden = Golden(version.golden.seeds, {**version.golden.rows, **more.golden.rows})
    return Version(joined, {**version.tensors, **more.tensors}, golden)


def _check(ours: Manifest, theirs: Manifest) -> None:
    differing = [name for name in SAME if getattr(ours, name) != getattr(theirs, name)]
    if set(ours.precisions) & set(theirs.precisions):
        differing.append("precisions")
    if replace(_prompts(ours), token_temperatures={}) != replace(_prompts(theirs), token_temperatures={}):
        differing.append("prompts")
    if (FEW_SHOT in ours.report) is not (FEW_SHOT in theirs.report):
        differing.append(FEW_SHOT)
    if differing:
        raise CheckpointError(f"the two versions cannot be joined because of {', '.join(differing)}: build both anew")


def _joined_prompts(ours: PromptSpec, theirs: PromptSpec) -> PromptSpec:
    return replace(ours, token_temperatures={**ours.token_temperatures, **theirs.token_temperatures})


def _joined_report(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    parts: dict[str, Any] = {"evaluations": [*ours["evaluations"], *theirs["evaluations"]]}
    for part, rows in ((LOSS_RANK, "precisions"), (TOKENS, "evaluations"), (FEW_SHOT, "evaluations")):
        if part in ours:
            parts[part] = {**ours[part], rows: [*ours[part][rows], *theirs[part][rows]]}
    return {**ours, **parts}


def _prompts(manifest: Manifest) -> PromptSpec:
    assert manifest.prompts is not None
    return manifest.prompts
