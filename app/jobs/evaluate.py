"""The stages of a job `evaluate`: how well a version does on labelled data, without changing anything."""

from dataclasses import replace
from typing import Any

from app.jobs.bench import Bench
from app.jobs.evaluation_report import REPORT
from app.jobs.stage import StageContext
from models.core.atomic import write_json
from models.training.build import RAW, Part, evaluation_record, with_head

COLLECTED = 0.8


def collect_all(context: StageContext) -> dict[str, Any]:
    """Logits and features of every row, in every precision that the version serves in."""
    bench = Bench(context)
    bench.collect(bench.data.names, until=COLLECTED)
    return {"version": bench.base}


def report(context: StageContext) -> dict[str, Any]:
    """Every measure, of the network alone and as it is served, into `report.json` of the job's folder."""
    bench = Bench(context)
    evaluations = []
    for precision in bench.manifest.precisions:
        context.report(COLLECTED, f"judging, {precision}")
        names, found = bench.collected(precision, bench.data.names)
        network = bench.network(precision)
        found = replace(found, outputs=with_head(network, found.outputs))
        part = Part(bench.data.name, bench.data.sha256, "report", names, found, "all rows of the data")
        calibrator = bench.calibrator(network)
        name = bench.manifest.calibrator or RAW
        evaluations.append(evaluation_record(part, precision, {name: calibrator}, name))
    content = {"classes": bench.manifest.classes, "version": bench.base, "evaluations": evaluations}
    write_json(context.folder / REPORT, content)
    after = evaluations[0]["after"]
    metrics = {"nll": after["nll"]["value"], "ece": after["ece"], "accuracy": after["accuracy"]["value"]}
    context.report(1.0, "judged", metrics)
    return {"metrics": metrics}
