"""Sets layer by layer, and the calibration direction beside its controls: `python -m tests.benchmarks.language.layers`.

The study is the one that a job makes: phase, direction, step and temperature are found on the fit split, and compared
on the report split. A set's tables are written as soon as they are done, and what the model said after each layer is
kept, so a run can be ended at any time.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from models.core.device import PRECISIONS
from models.language.causal_lm import CausalLM
from models.language.layer_study import study_read_parts
from models.language.layer_study_part import Progress
from models.language.layers import BINS, LayerFigures
from tests.benchmarks.epistemic.figure import Figure, Line
from tests.benchmarks.epistemic.tables import Report, Table
from tests.benchmarks.language import RESULTS
from tests.benchmarks.language.comparison import (
    FIGURES,
    aim_words,
    comparison_table,
    gain_words,
    with_other_calibrators,
)
from tests.benchmarks.language.mmlu import SEED
from tests.benchmarks.language.parts import part
from tests.benchmarks.language.sets import MMLU, NAMES, parts
from tests.benchmarks.language.smollm2 import smollm2


def layer_table(curves: Mapping[str, Sequence[LayerFigures]]) -> Table:
    names = [(name, part) for part in ("report", "fit") for name in FIGURES]
    rows = {
        str(layer): [f"{getattr(curves[part][layer - 1], name):.3f}" for name, part in names]
        for layer in range(1, len(curves["fit"]) + 1)
    }
    return Table("Layers", "layer", [f"{name} ({part})" for name, part in names], rows)


def figure(curve: Sequence[LayerFigures]) -> Figure:
    measures = {"accuracy": "accuracy", "confidence": "confidence", "ECE": "ece", "MCE": "mce"}
    lines = [Line(label, [getattr(each, field) for each in curve]) for label, field in measures.items()]
    names = [str(each.layer) if each.layer % 5 == 0 or each.layer == 1 else "" for each in curve]
    return Figure("SmolLM2-135M on MMLU, layer by layer", "layer", "share", names, lines)


def sweep_table(points: Sequence[Mapping[str, float]]) -> Table:
    rows = {
        f"after layer {point['layer']}, step {point['step']:+.2f}": [f"{point[name]:.3f}" for name in FIGURES]
        for point in points
    }
    return Table("Sweep on the fit split", "change", FIGURES, rows)


def neuron_table(neurons: Sequence[Mapping[str, float]]) -> Table:
    columns = {
        "length": "length of output weight",
        "null_share": "share in null space",
        "logit_variance": "variance of logit effect",
    }
    rows = {f"neuron {each['neuron']}": [f"{each[name]:.2e}" for name in columns] for each in neurons}
    return Table("Entropy neurons of the last layer", "neuron", list(columns.values()), rows)


def direction_words(study: Mapping[str, Any]) -> list[str]:
    """Out of a study's report."""
    phase, step, null_space = study["phase"], study["step"], study["null_space"]
    if phase is None:
        return [f"Fit split: {study['reason']}. No direction is forced."]
    chosen = f"{step['step']:+.2f} after layer {step['layer']}" if step else f"none, {study['reason']}"
    return [
        f"Correction phase on the fit split: layers {phase['layers'][0]} to {phase['layers'][-1]}, ECE peaks after"
        f" layer {phase['peak']}. Step chosen there: {chosen}; the layers' changes agree to {study['agreement']:.2f}"
        " (1: all point one way).",
        f"Share of the direction in the unembedding's null space ({null_space['directions']} of {null_space['width']}"
        f" directions): {null_space['direction']:.3f}, {null_space['by_chance']:.3f} by chance.",
    ]


def of_set(model: CausalLM, name: str, folder: Path) -> Report:
    chosen = parts(name)
    fit, report = part(model, chosen.fit), part(model, chosen.report)
    study = study_read_parts(fit, report, SEED, Progress(lambda share, what: None, tokens=1))
    found, judged = study.report(), with_other_calibrators(study.judged, fit, report)
    more = [sweep_table(found["sweep"])] if found["sweep"] else []
    if name == MMLU:
        more.append(neuron_table(found["null_space"]["entropy_neurons"]))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"layers_{name}.svg").write_text(figure(study.curves["report"]).svg())
    return Report(
        f"layers_{name}",
        f"{name}, layer by layer",
        f"python -m tests.benchmarks.language.layers --sets {name}",
        {
            "model": "SmolLM2-135M-Instruct, 4-bit weights unpacked",
            "precision": model.precision,
            "questions": f"{len(fit.labels)} to fit on, {len(report.labels)} to report on",
            "data": chosen.about,
            "bins": f"{BINS} of equal width",
        },
        [comparison_table(judged), layer_table(study.curves), *more],
        [*direction_words(found), gain_words(judged), aim_words(judged)],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--precision", choices=list(PRECISIONS), default="bfloat16")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = smollm2(given.precision)
    for name in given.sets:
        made = of_set(model, name, given.out)
        made.write(given.out)
        print(made.markdown(), flush=True)


if __name__ == "__main__":
    main()
