"""The last stages of a job `train`: calibrator, scores and references of the trained network, the gate, publish.

All is fitted on rows that were held out of the training, and reported on rows that had no part in either.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from app.jobs.bench import Bench
from app.jobs.calibrate import AUTO, compare, tell_guard
from app.jobs.loss_rank import view_plan
from app.jobs.parts import part_of
from app.jobs.publishing import keep, kept, promote_over
from app.jobs.stage import StageContext
from app.jobs.training.head import head_params, with_head_or_why
from app.jobs.training.preparation import Preparation
from app.jobs.training.progress import TRAINED as TRAINING_DONE
from app.jobs.training.rival import Rival, with_rival
from app.jobs.training.train import TRAINED
from models.core.checkpoint import Version
from models.training.build import Fitted, Part, Recipe, fit, make_version
from models.training.gate import Gate
from models.training.select import Selection
from models.uncertainty import READY

PLAIN, VIEWS, FITTED, DONE = 0.82, 0.88, 0.92, 0.97  # progress at the end of these parts
Parts = Mapping[str, tuple[Part, Part]]


def collect(context: StageContext) -> dict[str, Any]:
    """Outputs of all rows that were not trained on, of the new network and the serving one, and of views of some."""
    bench, found = _bench(context), Preparation.read(context.folder)
    rival, precisions = _rival(bench, found), bench.manifest.precisions
    share = (PLAIN - TRAINING_DONE) / (len(precisions) * (2 if rival else 1))
    for turn, precision in enumerate(precisions):
        bench.collect_in(precision, TRAINING_DONE + turn * share, share)
    for turn, precision in enumerate(precisions if rival else (), len(precisions)):
        assert rival is not None
        rival.collect(precision, TRAINING_DONE + turn * share, share)
    first = precisions[0]
    fitting = _parts(bench, found, first, "")[0]
    bench.collect_views(first, fitting.names, view_plan(head_params(context.spec.params)), PLAIN, VIEWS - PLAIN)
    return {}


def fit_candidate(context: StageContext) -> dict[str, Any]:
    """Fit calibrator, references and loss-rank head, judge them, and put the version into the job's folder."""
    bench, found = _bench(context), Preparation.read(context.folder)
    rival = _rival(bench, found)
    note = rival.note(found.report) if rival else ""
    parts = {precision: _parts(bench, found, precision, note) for precision in bench.manifest.precisions}
    selection = _selected(bench, parts)
    recipe = _recipe(bench, selection)
    fitted = {precision: _fitted(bench, recipe, rival, precision, rows) for precision, rows in parts.items()}
    evaluations = [row for each in fitted.values() for row in each.evaluations]
    extra = _extra(bench, found, rival, selection, evaluations)
    version = make_version(recipe, fitted, extra)
    keep(context, _with_head(bench, version, parts))
    _tell(context, evaluations, extra.get("gate"))
    return {"method": recipe.calibrator}


def promote(context: StageContext) -> dict[str, Any]:
    """Make it the active version: a model's first one, or one that the gate lets take the serving one's place."""
    rival, gate = Preparation.read(context.folder).rival, kept(context).manifest.report.get("gate")
    if rival is None:
        return promote_over(context, None, None, f"it is the first one of {context.spec.model}")
    if gate is None:
        refusal = f"version {rival} has other classes, so the two cannot be compared: activate it by hand"
        return promote_over(context, rival, refusal, "")
    return promote_over(context, rival, None if gate["held"] else "; ".join(gate["reasons"]), "the gate held")


def _bench(context: StageContext) -> Bench:
    return Bench(context, kept(context, TRAINED))


def _rival(bench: Bench, found: Preparation) -> Rival | None:
    """None where there is nobody to be compared with."""
    rival = None if found.rival is None else Rival(bench, found.rival)
    return rival if rival and rival.is_comparable else None


def _parts(bench: Bench, found: Preparation, precision: str, note: str) -> tuple[Part, Part]:
    fitted = "held out of the training; calibrator and references are fitted on these rows: not evidence"
    judged = f"rows of the same data, neither trained nor fitted on{note}"
    fitting = part_of(bench, precision, "fit", found.held_out, fitted)
    return fitting, part_of(bench, precision, "report", found.report, judged)


def _selected(bench: Bench, parts: Parts) -> Selection | None:
    if bench.spec.params["calibrator"] != AUTO:
        return None
    first = bench.manifest.precisions[0]
    return compare(bench, first, parts[first][0], VIEWS)


def _recipe(bench: Bench, selection: Selection | None) -> Recipe:
    manifest, params = bench.manifest, bench.spec.params
    return Recipe(
        backbone=manifest.backbone,
        classes=manifest.classes,
        input_spec=manifest.image_input,
        calibrator=selection.chosen if selection else params["calibrator"],
        scores=READY,
        precisions=manifest.precisions,
        seed=params["seed"],
        compared=("temperature",),
        gradients=bench.plan,
        trained=manifest.data,
    )


def _fitted(bench: Bench, recipe: Recipe, rival: Rival | None, precision: str, rows: tuple[Part, Part]) -> Fitted:
    fitting, judged = rows
    bench.context.report(VIEWS, f"fitting {recipe.calibrator} on {len(fitting.names)} rows, {precision}")
    fitted = fit(recipe, bench.network(precision), fitting, [judged])
    tell_guard(bench.context, precision, recipe.calibrator, fitted)
    if rival is None:
        return fitted
    return replace(fitted, evaluations=with_rival(fitted.evaluations, rival.measures(precision, judged.names)))


def _extra(
    bench: Bench,
    found: Preparation,
    rival: Rival | None,
    selection: Selection | None,
    evaluations: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Parts of the report beside the evaluations."""
    extra: dict[str, Any] = {"training": bench.manifest.report["training"]}
    if selection is not None:
        extra["selection"] = asdict(selection)
    if rival is not None:
        extra |= {"gate": Gate(**bench.spec.params["gate"]).judge(evaluations), "base": rival.number}
    elif found.rival is not None:
        extra["unjudged"] = [f"Not compared with version {found.rival}, which has other classes."]
    return extra


def _with_head(bench: Bench, version: Version, parts: Parts) -> Version:
    found, why = with_head_or_why(bench, version, parts, FITTED, DONE - FITTED)
    if why is None:
        return found
    bench.context.log(f"no loss_rank: {why}")
    report = version.manifest.report
    training = report["training"] | {"without_loss_rank": why}
    return replace(version, manifest=replace(version.manifest, report=report | {"training": training}))


def _tell(context: StageContext, evaluations: Sequence[Mapping[str, Any]], gate: Mapping[str, Any] | None) -> None:
    shown = next(row for row in evaluations if row["role"] == "report")
    metrics = {
        f"{name}_{when}": value["value"] if isinstance(value, Mapping) else value
        for when in ("before", "active", "after")
        if when in shown
        for name, value in ((name, shown[when][name]) for name in ("nll", "ece", "accuracy"))
    }
    context.report(DONE, "fitted and judged", metrics)
    if gate is not None:
        context.log("the gate holds" if gate["held"] else f"the gate does not hold: {'; '.join(gate['reasons'])}")
