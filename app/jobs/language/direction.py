"""The calibration direction of a job: the study of the layers, kept in the job's folder once it is done."""

import json
from dataclasses import dataclass
from typing import Any

import torch

from app.jobs.language.prompt_bench import PromptBench, Readings
from models.core.atomic import write_json
from models.core.device import choose_precision, on_cores
from models.core.errors import DataError
from models.language.layer_study import LayerStudy, study_layers
from models.language.reading import ResidualStep

FOLDER = "study"


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
    bench.context.log(f"studying the layers in {read.precision}")
    fitting, judged = (bench.rows.named(each.part.names) for each in bench.fit_and_report(read))
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
