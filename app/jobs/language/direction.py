"""The calibration direction of a job: the study of the layers, kept in the job's folder once it is done."""

import json
from dataclasses import dataclass
from typing import Any

import torch

from app.jobs.language.prompt_bench import PromptBench, Readings
from models.core.atomic import write_json
from models.core.device import choose_precision, on_cores
from models.core.errors import DataError
from models.data.splits import split
from models.language.layer_study import LayerStudy, study_layers
from models.language.reading import ResidualStep
from models.training.build import Part
from models.training.prompts.rows import QuestionRows

FOLDER = "study"
MOST_STUDIED = 1000  # rows of each part. Ours: their residual streams after every layer are held in memory


@dataclass(frozen=True, slots=True)
class Studied:
    """The step to serve, and what a version's report says of the layers."""

    step: ResidualStep
    report: dict[str, Any]


def studied_direction(bench: PromptBench, begin: float, share: float) -> Studied:
    """In the precision that this machine serves best; the job's progress goes from `begin` up by `share`.

    Raises DataError where the layers have no correction phase, or no step is better than none.
    """
    path = bench.context.folder / FOLDER / "layers.json"
    if path.exists():
        kept = json.loads(path.read_bytes())
        return Studied(ResidualStep(torch.tensor(kept["vector"]), kept["layer"], kept["length"]), kept["report"])
    precision = choose_precision(bench.bench.device, bench.precisions)
    study = _studied(bench, bench.read(bench.serving(precision)), begin, share)
    if study.step is None:
        _tell(bench, study)
        raise DataError(
            f"{study.reason}; nothing was changed. Calibrate {bench.bench.spec.model} with another method, such as"
            " temperature"
        )
    step, told = study.step, study.report()
    path.parent.mkdir(exist_ok=True)
    vector = step.vector.float().cpu()
    write_json(path, {"vector": vector.tolist(), "layer": step.layer, "length": step.length, "report": told})
    return Studied(ResidualStep(vector, step.layer, step.length), told)


def _studied(bench: PromptBench, read: Readings, begin: float, share: float) -> LayerStudy:
    fitting, judged = (_sampled(bench, each.part) for each in bench.fit_and_report(read))
    told = f"{len(fitting)} rows to fit on and {len(judged)} to report on"
    bench.context.log(f"studying the layers in {read.precision} on {told}, at most {MOST_STUDIED} each")
    with on_cores(bench.bench.settings.cores):
        return study_layers(
            read.serves.language,
            fitting.items,
            fitting.labels,
            judged.items,
            judged.labels,
            seed=bench.context.spec.params["seed"],
            told=lambda done, what: bench.context.report(begin + share * done, what),
        )


def _sampled(bench: PromptBench, part: Part) -> QuestionRows:
    """All rows of the part, or as many of them by the seed as are studied at most."""
    if len(part.names) <= MOST_STUDIED:
        return bench.rows.named(part.names)
    (names,) = split(part.names, bench.context.spec.params["seed"], MOST_STUDIED)
    return bench.rows.named(names)


def _tell(bench: PromptBench, study: LayerStudy) -> None:
    """A table of the layers into the job's log, which is all that stays of a study that no version is made from."""
    for part, curve in study.curves.items():
        bench.context.log(f"part {part}, {study.rows[part]} rows: layer, accuracy, confidence, ECE")
        for each in curve:
            bench.context.log(f"{each.layer:>3}  {each.accuracy:.3f}  {each.confidence:.3f}  {each.ece:.3f}")
