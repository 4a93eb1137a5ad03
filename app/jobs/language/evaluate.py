"""The stages of a job `evaluate` on a language model: how well a version does on questions, changing nothing."""

from typing import Any

from app.jobs.evaluate import FEWEST_ROWS, evidence, leave_report
from app.jobs.language.prompt_bench import PromptBench
from app.jobs.language.readouts import served_readout
from app.jobs.stage import StageContext
from models.core.prompt_spec import PromptSpec
from models.training.judged import RAW, judged_record
from models.training.prompts.version import served_logits

READ = 0.8  # progress at the end of the first stage


def collect_all(context: StageContext) -> dict[str, Any]:
    """Read every row in every precision that the version serves in."""
    bench = _bench(context)
    bench.collect(until=READ)
    return {"version": bench.bench.base}


def report(context: StageContext) -> dict[str, Any]:
    """Every measure, of the model alone and as it is served, into `report.json` of the job's folder."""
    bench = _bench(context)
    role, unfitted, note = evidence(bench.bench)
    name, more = _calibrator(bench)
    context.log(f"judged on {len(unfitted)} of {len(bench.rows)} rows: {note}{more}")
    evaluations = []
    for precision in bench.precisions:
        context.report(READ, f"judging, {precision}")
        read = bench.read(bench.serving(precision))
        judged = bench.part(read, role, unfitted, note + more, fewest=FEWEST_ROWS)
        logits = served_logits(read.serves, PromptSpec(bench.readout), judged.serving)
        evaluations.append(judged_record(judged.part.about(precision), judged.part.found, {name: logits}, name))
    return leave_report(context, bench.bench, evaluations)


def _bench(context: StageContext) -> PromptBench:
    return PromptBench(context, lambda manifest, data: served_readout(context.spec.params, manifest, data))


def _calibrator(bench: PromptBench) -> tuple[str, str]:
    """The name of what is judged, and what to add to the note."""
    manifest, prompts = bench.version.manifest, bench.version.manifest.prompts
    if manifest.calibrator is None:
        return RAW, ""
    if prompts is not None and prompts.readout is not bench.readout:
        return RAW, f"; choices read as {bench.readout}, which version {bench.bench.base} is not calibrated for"
    return manifest.calibrator, ""
