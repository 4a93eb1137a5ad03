"""Sets layer by layer, and the calibration direction beside its controls: `python -m tests.benchmarks.language.layers`.

Phase, direction, step and temperature are found on the fit split; the comparison is on the report split. A set's tables
are written as soon as they are done, and what the model said after each layer is kept, so a run can be ended at any
time.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from models.core.device import PRECISIONS
from models.language.causal_lm import CausalLM
from models.language.direction import CalibrationDirection, SweepPoint, calibration_direction
from models.language.layers import (
    BINS,
    CorrectionPhase,
    LayerFigures,
    correction_phase,
    layer_curve,
    layer_outputs,
)
from models.language.null_space import last_neurons, null_basis, null_share
from tests.benchmarks.epistemic.figure import Figure, Line
from tests.benchmarks.epistemic.tables import Report, Table
from tests.benchmarks.language import RESULTS
from tests.benchmarks.language.comparison import (
    CONTROLS,
    DIRECTION,
    NONE,
    RANDOM,
    TEMPERATURE,
    Judged,
    calibrated,
    comparison_table,
    directed,
    gain,
    told,
)
from tests.benchmarks.language.parts import Part, part
from tests.benchmarks.language.sets import MMLU, NAMES, parts
from tests.benchmarks.language.smollm2 import smollm2
from tests.benchmarks.language.sweeping import Swept, swept

AIM = 0.05  # of ECE, served, on MMLU


def curve_of(model: CausalLM, found: Part) -> tuple[LayerFigures, ...]:
    return layer_curve(layer_outputs(model, found.states, found.questions.tokens), found.labels)


def layer_table(fit: Sequence[LayerFigures], report: Sequence[LayerFigures]) -> Table:
    names = ["accuracy", "confidence", "ece", "mce"]
    rows = {
        str(one.layer): [f"{getattr(each, name):.3f}" for each in (one, other) for name in names]
        for one, other in zip(report, fit, strict=True)
    }
    return Table("Layers", "layer", [f"{name} ({part})" for part in ("report", "fit") for name in names], rows)


def figure(curve: Sequence[LayerFigures]) -> Figure:
    measures = {"accuracy": "accuracy", "confidence": "confidence", "ECE": "ece", "MCE": "mce"}
    lines = [Line(label, [getattr(each, field) for each in curve]) for label, field in measures.items()]
    names = [str(each.layer) if each.layer % 5 == 0 or each.layer == 1 else "" for each in curve]
    return Figure("SmolLM2-135M on MMLU, layer by layer", "layer", "share", names, lines)


def sweep_table(points: Sequence[SweepPoint]) -> Table:
    names = ["ece", "mce", "accuracy", "confidence"]
    rows = {
        f"after layer {point.layer}, step {point.step:+.2f}": [f"{getattr(point.figures, name):.3f}" for name in names]
        for point in points
    }
    return Table("Sweep on the fit split", "change", names, rows)


def neuron_table(model: CausalLM) -> Table:
    neurons = last_neurons(model)
    names = ["length of output weight", "share in null space", "variance of logit effect"]
    columns = (neurons.lengths, neurons.null_shares, neurons.logit_variances)
    rows = {f"neuron {n}": [f"{float(each[n]):.2e}" for each in columns] for n in neurons.entropy_neurons(5).tolist()}
    rows["median of all"] = [f"{float(each.median()):.2e}" for each in columns]
    return Table("Entropy neurons of the last layer", "neuron", names, rows)


def direction_words(
    model: CausalLM, phase: CorrectionPhase, direction: CalibrationDirection, chosen: SweepPoint
) -> list[str]:
    basis = null_basis(model)
    share, chance = float(null_share(direction.vector, basis)), (basis.shape[1] / model.width) ** 0.5
    return [
        f"Correction phase on the fit split: layers {phase.layers[0]} to {phase.layers[-1]}, ECE peaks after layer"
        f" {phase.peak}. Step chosen there: {chosen.step:+.2f} after layer {chosen.layer}; the layers' changes agree to"
        f" {direction.agreement:.2f} (1: all point one way).",
        f"Share of the direction in the unembedding's null space ({basis.shape[1]} of {model.width} directions):"
        f" {share:.3f}, {chance:.3f} by chance.",
    ]


def comparison_words(judged: Mapping[str, Sequence[Judged]]) -> list[str]:
    found = []
    for less, more in ((DIRECTION, NONE), (DIRECTION, RANDOM), (TEMPERATURE, NONE), (TEMPERATURE, DIRECTION)):
        if {less, more} <= judged.keys():
            interval = gain(judged, less, more)
            word = "lower" if interval.low > 0 else "higher" if interval.high < 0 else "no different for certain"
            found.append(f"{less} against {more}, ECE lower by {told(interval)}: {word}")
    return [f"On the same rows: {'; '.join(found)}."]


def aim_words(judged: Mapping[str, Sequence[Judged]]) -> str:
    eces = {name: judged[name][0].ece() for name in judged if name not in CONTROLS}
    each = ", ".join(f"{name} {ece:.3f} ({'met' if ece <= AIM else 'not met'})" for name, ece in eces.items())
    return f"Aim of ECE at most {AIM}: {each}."


def of_set(model: CausalLM, name: str, folder: Path) -> Report:
    chosen = parts(name)
    fit, report = part(model, chosen.fit), part(model, chosen.report)
    curves = [curve_of(model, each) for each in (fit, report)]
    judged = calibrated(model, fit, report)
    more, findings = list[Table](), ["No correction phase was found on the fit split: no direction is forced."]
    phase = correction_phase(curves[0])
    if phase is not None:
        direction = calibration_direction(fit.states, phase)
        found: Swept = swept(model, fit, direction, [phase.peak, model.layers])
        judged |= directed(model, fit, report, direction, found)
        more, findings = [sweep_table(found.points)], direction_words(model, phase, direction, found.chosen)
    if name == MMLU:
        more.append(neuron_table(model))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"layers_{name}.svg").write_text(figure(curves[1]).svg())
    return Report(
        f"layers_{name}",
        f"{name}, layer by layer",
        f"python -m tests.benchmarks.language.layers --sets {name}",
        {
            "model": "SmolLM2-135M-Instruct, 4-bit weights unpacked",
            "precision": model.precision,
            "questions": f"{len(fit.labels)} to fit on, {len(report.labels)} to report on",
            "data": chosen.about,
            "bins": f"{BINS} of equal width; the interval of MCE is a plain bootstrap's, which lies too high",
        },
        [comparison_table(judged), layer_table(*curves), *more],
        [*findings, *comparison_words(judged), aim_words(judged)],
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
