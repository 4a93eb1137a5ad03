"""The stages of a job `evaluate`: how well a version does on labelled data, without changing anything."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from app.jobs.bench import Bench
from app.jobs.evaluation_report import REPORT
from app.jobs.stage import StageContext
from app.jobs.training.split import trained_count
from models.core.atomic import write_json
from models.data.splits import fingerprint, split
from models.training.build import Part, evaluation_record, with_head
from models.training.judged import RAW

COLLECTED = 0.8
FEWEST_ROWS = 2


def collect_all(context: StageContext) -> dict[str, Any]:
    """Logits and features of every row, in every precision that the version serves in."""
    bench = Bench(context)
    bench.collect(until=COLLECTED)
    return {"version": bench.base}


def report(context: StageContext) -> dict[str, Any]:
    """Every measure, of the network alone and as it is served, into `report.json` of the job's folder."""
    bench = Bench(context)
    role, unfitted, note = evidence(bench)
    if trained := trained_count(bench.manifest, bench.data.sha256):
        note += f"; without the {trained} that its network was trained on"
    context.log(f"judged on {len(unfitted)} of {len(bench.data.names)} rows: {note}")
    evaluations = []
    for precision in bench.manifest.precisions:
        context.report(COLLECTED, f"judging, {precision}")
        names, found = bench.collected(precision, unfitted)
        network = bench.network(precision)
        found = replace(found, outputs=with_head(network, found.outputs))
        part = Part(bench.data.name, bench.data.sha256, role, names, found, note)
        calibrator = bench.calibrator(network)
        name = bench.manifest.calibrator or RAW
        evaluations.append(evaluation_record(part, precision, {name: calibrator}, name))
    return leave_report(context, bench, evaluations)


def leave_report(context: StageContext, bench: Bench, evaluations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Into the job's folder; what comes of the stage are figures in the first precision, as it is served."""
    content = {"classes": bench.manifest.classes, "version": bench.base, "evaluations": evaluations}
    write_json(context.folder / REPORT, content)
    after = evaluations[0]["after"]
    metrics = {"nll": after["nll"]["value"], "ece": after["ece"], "accuracy": after["accuracy"]["value"]}
    context.report(1.0, "judged", metrics)
    return {"metrics": metrics}


def evidence(bench: Bench) -> tuple[str, tuple[str, ...], str]:
    """Role, names and note of the rows to judge on, without those that the version was fitted on.

    A manifest keeps a fingerprint of its rows and the seed of their split, so they can be found again.
    """
    names, seed = bench.data.names, bench.manifest.seeds.get("split", 0)
    fitted: set[str] = set()
    for use in bench.manifest.data:
        if use.role != "fit" or use.sha256 != bench.data.sha256:
            continue
        again = split(names, seed, min(use.rows, len(names)))[0]
        if fingerprint(again) != use.fingerprint:
            return "fit", names, f"version {bench.base} was fitted on some of these rows: not evidence"
        fitted.update(again)
    if not fitted:
        return "report", names, "all rows of the data, none of which the version was fitted on"
    left = tuple(name for name in names if name not in fitted)
    if len(left) < FEWEST_ROWS:
        return "fit", names, f"version {bench.base} was fitted on these rows: not evidence"
    return "report", left, f"without the {len(fitted)} rows that version {bench.base} was fitted on"
