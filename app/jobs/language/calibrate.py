"""The stages of a job `calibrate` on a language model: every row read, a calibrator fitted on some, judged on others.

Each stage leaves files in the job's folder, so that it can be begun again wherever it was interrupted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from app.jobs.calibrate import tell
from app.jobs.language.direction import Studied, studied_direction
from app.jobs.language.methods import AUTO
from app.jobs.language.prompt_bench import PromptBench, Readings
from app.jobs.language.readouts import calibrated_readout
from app.jobs.publishing import keep
from app.jobs.stage import StageContext
from models.core.prompt_spec import PromptSpec
from models.language.calibrators import DIRECTION, TASK_TEMPERATURE
from models.language.few_shot_recalibration import FEW_SHOT
from models.language.pipeline import language_dimensions
from models.training.build import Fitted
from models.training.gate import Gate
from models.training.prompts.calibration import own_tasks, select_prompt_calibrator
from models.training.prompts.token_version import TOKENS
from models.training.prompts.version import PromptPart, PromptRecipe, fit_prompts, prompt_version, scores_for
from models.training.select import Selection
from models.uncertainty.loss_rank import LossRank

READ, STUDIED, FITTED = 0.6, 0.85, 0.95  # progress at the end of these parts
LAYERS = "layers"  # the part of a report that a study of the layers gives


def collect(context: StageContext) -> dict[str, Any]:
    """Read every row in every precision that the base version serves in."""
    bench = _bench(context)
    bench.collect(until=READ)
    return {"base": bench.bench.base}


def fit_candidate(context: StageContext) -> dict[str, Any]:
    """Fit on one part of the rows, report on the other, and put the candidate version into the job's folder."""
    bench = _bench(context)
    study = studied_direction(bench, READ, STUDIED - READ) if context.spec.params["method"] == DIRECTION else None
    selection, recipe, fitted = None, None, dict[str, Fitted]()
    for turn, precision in enumerate(bench.precisions):
        begin, share = STUDIED + turn * _share(bench), _share(bench)
        read = bench.read(bench.serving(precision), study.step if study else None, begin, share if study else 0.0)
        fitting, judged = bench.fit_and_report(read)
        if recipe is None:  # all precisions get the same method, so that they stay comparable
            selection = _selected(bench, read, fitting)
            recipe = _recipe(bench, fitting, selection, study)
        context.report(begin + share, f"fitting {recipe.calibrator} on {len(fitting.part.names)} rows, {precision}")
        fitted[precision] = fit_prompts(recipe, read.serves, fitting, [judged])
    assert recipe is not None
    evaluations = [row for result in fitted.values() for row in result.evaluations]
    gate = _gate(bench, recipe, evaluations)
    extra = _extra(bench, recipe, selection, study) | {"gate": gate}
    keep(context, prompt_version(bench.version, recipe, fitted, extra))
    tell(context, evaluations, gate)
    return {"method": recipe.calibrator, "gate": gate}


def _bench(context: StageContext) -> PromptBench:
    return PromptBench(context, lambda manifest, data: calibrated_readout(context.spec.params, manifest, data))


def _share(bench: PromptBench) -> float:
    return (FITTED - STUDIED) / len(bench.precisions)


def _selected(bench: PromptBench, read: Readings, fitting: PromptPart) -> Selection | None:
    params = bench.context.spec.params
    if params["method"] != AUTO:
        return None
    bench.context.report(STUDIED, "comparing calibrators by cross-validation")
    prompts, dimensions = _with_tasks(bench, fitting), language_dimensions(read.serves.language)
    selection = select_prompt_calibrator(dimensions, prompts, fitting.reading, fitting.labels, seed=params["seed"])
    bench.context.log(selection.reason)
    return selection


def _recipe(
    bench: PromptBench, fitting: PromptPart, selection: Selection | None, study: Studied | None
) -> PromptRecipe:
    params = bench.context.spec.params
    method = selection.chosen if selection else params["method"]
    prompts = _with_tasks(bench, fitting) if method == TASK_TEMPERATURE else _spec(bench)
    if prompts.tasks:
        bench.context.log(f"{len(prompts.tasks)} tasks have a temperature of their own: {', '.join(prompts.tasks)}")
    return PromptRecipe(method, prompts, params["seed"], study.step if study else None)


def _with_tasks(bench: PromptBench, fitting: PromptPart) -> PromptSpec:
    return _spec(bench, own_tasks(fitting.reading.tasks))


def _spec(bench: PromptBench, tasks: tuple[str, ...] = ()) -> PromptSpec:
    """Free answers stay as they are calibrated."""
    before = bench.version.manifest.prompts
    return PromptSpec(bench.readout, tasks, before.token_temperatures if before else {})


def _extra(
    bench: PromptBench, recipe: PromptRecipe, selection: Selection | None, study: Studied | None
) -> dict[str, Any]:
    """Parts of the report beside the evaluations; what the calibrator does not touch is that of the base version."""
    manifest, report = bench.version.manifest, bench.version.manifest.report
    extra: dict[str, Any] = {"base": bench.bench.base, "unjudged": [f"{each}." for each in _lost(bench, recipe)]}
    if selection is not None:
        extra["selection"] = asdict(selection)
    if LossRank.name in scores_for(manifest.prompts, manifest.scores, recipe.prompts):
        extra[LossRank.name] = report[LossRank.name]
    if TOKENS in report:
        extra[TOKENS] = report[TOKENS]
    if study is not None or LAYERS in report:
        extra[LAYERS] = study.report if study is not None else report[LAYERS]
    return extra


def _gate(bench: PromptBench, recipe: PromptRecipe, evaluations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Does not hold by itself where something is lost that no figure weighs."""
    judged = Gate(**bench.context.spec.params["gate"]).judge(evaluations)
    lost = [f"{each}: activate it by hand if that is meant" for each in _lost(bench, recipe)]
    return judged | {"held": judged["held"] and not lost, "reasons": [*judged["reasons"], *lost]}


def _lost(bench: PromptBench, recipe: PromptRecipe) -> list[str]:
    """What the base version has and the candidate has not."""
    before, base, told = bench.version.manifest.prompts, bench.bench.base, list[str]()
    if before is None:
        return told
    if bench.version.method_state(bench.precisions[0], FEW_SHOT):
        told.append(
            f"Version {base} has a few-shot recalibrator of its own confidences, which the new version has not: fit one"
            f" with a job calibrate, method {FEW_SHOT}"
        )
    if before.readout is not bench.readout:
        told.append(
            f"Version {base} reads choices as {before.readout}, it cannot be compared with one for {bench.readout},"
            " which has no trained score"
        )
    if tasks := [task for task in before.tasks if task not in recipe.prompts.tasks]:
        share = f"{len(tasks)} of {len(before.tasks)}"
        told.append(f"{share} tasks of version {base} have no temperature of their own any more: {', '.join(tasks)}")
    return told
