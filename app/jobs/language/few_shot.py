"""The stages of a job `calibrate` that fits a few-shot recalibrator: tasks are its slices, each is judged by itself.

Readings are kept as those of other methods are, so an interrupted job goes on where it was.
"""

from dataclasses import asdict, replace
from typing import Any

from app.jobs.calibrate import FITTED, tell
from app.jobs.language.prompt_bench import PromptBench
from app.jobs.language.readouts import served_readout
from app.jobs.parts import FEWEST_ROWS, fitted_on_others, uses_of
from app.jobs.publishing import keep, kept, promote_kept
from app.jobs.stage import StageContext
from models.core.errors import DataError
from models.core.golden import GoldenRow
from models.language.few_shot_recalibration import FEW_SHOT, FewShotPlan
from models.language.pipeline import LanguagePipeline
from models.training.gate import Gate
from models.training.prompts.few_shot_version import (
    Recalibrated,
    judged_slices,
    recalibrate_slices,
    with_recalibrators,
)
from models.training.prompts.slices import slices_of
from models.training.prompts.version import PromptPart
from models.training.rescored import undecided

READ = 0.8  # progress when all rows are read


def collect(context: StageContext) -> dict[str, Any]:
    """Read every row in every precision that the base version serves in, if the tasks have rows enough."""
    bench = _bench(context)
    for role, names in zip(("fit", "report"), bench.split_names, strict=True):
        _check_slices(bench, role, bench.rows.named(names).tasks)
    bench.collect(until=READ)
    return {"base": bench.bench.base}


def fit_candidate(context: StageContext) -> dict[str, Any]:
    """Fit on one part of the rows, report on the other, and put the candidate version into the job's folder."""
    bench, found = _bench(context), dict[str, Recalibrated]()
    for turn, precision in enumerate(bench.precisions):
        done = READ + (FITTED - READ) * turn / len(bench.precisions)
        context.report(done, f"fitting a recalibrator of slices, {precision}")
        found[precision] = _recalibrated(bench, precision)
    records = [record for each in found.values() for record in each.records]
    gate = judged_slices(Gate(**context.spec.params["gate"]), records)
    origin = {name: context.spec.params[name] for name in ("seed", "fit_share")} | {"base": bench.bench.base}
    version = with_recalibrators(undecided(bench.version), found, gate, origin | {"plan": asdict(_plan(bench))})
    keep(context, version)
    tell(context, records, gate)
    return {"method": FEW_SHOT, "gate": gate}


def promote(context: StageContext) -> dict[str, Any]:
    """Make the new version the active one, if the gate holds and nobody has moved the pointer meanwhile."""
    return promote_kept(context, kept(context).manifest.report[FEW_SHOT]["gate"])


def _bench(context: StageContext) -> PromptBench:
    return PromptBench(context, lambda manifest, data: served_readout(context.spec.params, manifest, data))


def _plan(bench: PromptBench) -> FewShotPlan:
    return FewShotPlan(seed=bench.context.spec.params["seed"])


def _check_slices(bench: PromptBench, role: str, tasks: tuple[str | None, ...]) -> None:
    """Before anything is read. Raises DataError."""
    shown = _plan(bench).shown
    slices = slices_of(tasks, shown, role)
    left = sum(task in slices for task in tasks) - shown * len(slices)
    if role == "report" and left < FEWEST_ROWS:
        raise DataError(
            f"{left} rows to report on beside the {shown} shown of each task, at least {FEWEST_ROWS} are needed: send"
            " more rows of each task"
        )
    others = len(tasks) - sum(task in slices for task in tasks)
    bench.context.log(f"to {role} on: {len(slices)} tasks; {others} rows of no task, or of a small one, are left out")


def _recalibrated(bench: PromptBench, precision: str) -> Recalibrated:
    serves = bench.serving(precision)
    fitting, judged = bench.fit_and_report(bench.read(serves))
    judged = _with_evidence(bench, fitting, judged)
    return recalibrate_slices(serves, _plan(bench), fitting, judged, _golden(bench, serves))


def _with_evidence(bench: PromptBench, fitting: PromptPart, judged: PromptPart) -> PromptPart:
    """What the figures are worth: the recalibrator is for slices that it has not seen, and these it has."""
    note = f"{judged.part.note}; other rows of these tasks were fitted on"
    if fitted_on_others(uses_of(bench.version.manifest.report.get(FEW_SHOT, {})), fitting.part.use()):
        note += "; the serving version's recalibrator was fitted on some of them, which favours it"
    return replace(judged, part=replace(judged.part, note=note))


def _golden(bench: PromptBench, serves: LanguagePipeline) -> tuple[GoldenRow, ...]:
    """Those of the base version, unless this job is the first to say how its choices are read."""
    base = bench.bench.version
    if base.manifest.prompts is not None and base.manifest.prompts.readout is bench.readout:
        return base.golden.rows[serves.language.precision]
    return tuple(serves.golden_rows(base.golden.seeds))
