"""Make a version of a language model out of readings: fit calibrator and references, judge on other rows, golden rows.

Everything is fitted once for each precision, since a calibration holds for the precision it was fitted in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version as installed_version
from typing import Any

import torch
from torch import Tensor

from models.answers import ScoredReference
from models.core.checkpoint import Version
from models.core.device import machine
from models.core.golden import GOLDEN_SEEDS, Golden
from models.core.method import Dimensions, UncertaintyScore
from models.core.outputs import ModelOutputs
from models.core.prompt_spec import PromptSpec
from models.language.calibrators import PromptCalibrator
from models.language.pipeline import LanguagePipeline, language_dimensions
from models.language.reading import Reading, ResidualStep
from models.training.build import Fitted, Part, reference_of, refuse_leaks
from models.training.judged import judged_record
from models.training.prompts.calibration import fit_calibrator
from models.uncertainty import READY, score

COMPARED = "temperature"  # is reported on beside every other calibrator


@dataclass(frozen=True, slots=True)
class PromptRecipe:
    """What a version is made of, but for the data; `step` is that of the calibration direction."""

    calibrator: str
    prompts: PromptSpec
    seed: int
    step: ResidualStep | None = None


@dataclass(frozen=True, slots=True)
class PromptPart:
    """A part of the rows with what was read of them: under the step of the recipe, and of the version that `serves`."""

    part: Part
    reading: Reading
    serving: Reading

    @property
    def labels(self) -> Tensor:
        return self.part.found.labels


def fit_prompts(
    recipe: PromptRecipe, serves: LanguagePipeline, fitting: PromptPart, judged: Sequence[PromptPart]
) -> Fitted:
    """Fit on `fitting`, report on `judged` and on `fitting` itself, beside the version that serves in this precision.

    Its scores go on with new references, where it reads choices as the recipe does; else the version gets those that
    need no training. Raises ValueError where rows are in both.
    """
    refuse_leaks(fitting.part, [each.part for each in judged])
    dimensions, prefix = language_dimensions(serves.language), serves.language.precision
    candidates = {name: _fitted(name, recipe, dimensions, fitting) for name in (COMPARED, recipe.calibrator)}
    chosen = candidates[recipe.calibrator]
    scores = references(serves, recipe.prompts, chosen.transform(fitting.reading))
    # Copies: the step's vector is that of every precision, and a file takes no tensor twice.
    tensors = {f"{prefix}.calibrator.{name}": value.clone() for name, value in chosen.state().items()}
    for name, scored in scores.items():
        tensors |= {f"{prefix}.scores.{name}.{key}": value for key, value in scored.state().items()}
    pipeline = LanguagePipeline(serves.language, recipe.prompts, chosen, scores)
    return Fitted(
        tensors=tensors,
        golden=tuple(pipeline.golden_rows(GOLDEN_SEEDS)),
        evaluations=[_record(each, recipe, candidates, serves) for each in (*judged, fitting)],
        data=tuple(each.part.use() for each in (fitting, *judged)),
    )


def prompt_version(
    base: Version, recipe: PromptRecipe, fitted: Mapping[str, Fitted], extra: Mapping[str, Any]
) -> Version:
    """The network of `base` with what was fitted for each of its precisions; `extra` joins the report."""
    precisions = base.manifest.precisions
    manifest = replace(
        base.manifest,
        calibrator=recipe.calibrator,
        scores=scores_for(base.manifest.prompts, base.manifest.scores, recipe.prompts),
        data=fitted[precisions[0]].data,
        seeds={"split": recipe.seed, "bootstrap": recipe.seed},
        code_version=installed_version("howsure"),
        machine=machine(),
        report={"evaluations": [row for each in precisions for row in fitted[each].evaluations], **extra},
        files={},
        prompts=recipe.prompts,
    )
    tensors = {name: value for precision in precisions for name, value in fitted[precision].tensors.items()}
    return Version(manifest, tensors, Golden(GOLDEN_SEEDS, {each: fitted[each].golden for each in precisions}))


def scores_for(before: PromptSpec | None, scores: Sequence[str], prompts: PromptSpec) -> tuple[str, ...]:
    """Those that a version keeps which had `scores` before; trained ones are of the readout they were trained for."""
    same = before is not None and before.readout is prompts.readout
    return tuple(scores) if same and scores else READY


def references(serves: LanguagePipeline, prompts: PromptSpec, outputs: ModelOutputs) -> dict[str, ScoredReference]:
    """References on calibrated `outputs`, of the scores that the new version has."""
    names = scores_for(serves.prompts, tuple(serves.scores), prompts)
    dimensions, device = language_dimensions(serves.language), serves.language.device
    methods = {name: serves.scores[name].score if name in serves.scores else score(name)(dimensions) for name in names}
    return {name: reference_on(outputs, each, device) for name, each in methods.items()}


def reference_on(outputs: ModelOutputs, method: UncertaintyScore, device: torch.device) -> ScoredReference:
    """The score, on the device that is to serve, with references on `outputs`, which may lie elsewhere."""
    found = reference_of(method.to(outputs.logits.device), outputs)
    method.to(device)
    return found


def served_logits(serves: LanguagePipeline, readout_of: PromptSpec, reading: Reading) -> Tensor:
    """(N, MOST_CHOICES): what the version answers by now to choices that are read as `readout_of` says."""
    calibrator = serves.prompt_calibrator
    if calibrator is None or serves.prompts.readout is not readout_of.readout:
        return reading.outputs.logits
    return calibrated_logits(calibrator, reading)


def served_outputs(serves: LanguagePipeline, part: PromptPart) -> ModelOutputs:
    """What the version answers by now, to choices read as it was fitted for."""
    return part.serving.outputs.with_calibrated(served_logits(serves, serves.prompts, part.serving))


def calibrated_logits(calibrator: PromptCalibrator, reading: Reading) -> Tensor:
    """(N, MOST_CHOICES)."""
    logits = calibrator.transform(reading).calibrated
    assert logits is not None
    return logits


def _fitted(name: str, recipe: PromptRecipe, dimensions: Dimensions, fitting: PromptPart) -> PromptCalibrator:
    return fit_calibrator(name, dimensions, recipe.prompts, fitting.reading, fitting.labels, recipe.step)


def _record(
    judged: PromptPart, recipe: PromptRecipe, candidates: Mapping[str, PromptCalibrator], serves: LanguagePipeline
) -> dict[str, Any]:
    return judged_record(
        judged.part.about(serves.language.precision),
        judged.part.found,
        {name: calibrated_logits(each, judged.reading) for name, each in candidates.items()},
        recipe.calibrator,
        active=served_logits(serves, recipe.prompts, judged.serving),
        seed=recipe.seed,
    )
