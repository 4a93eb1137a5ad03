"""MMLU layer by layer, and the calibration direction beside its controls: `python -m tests.benchmarks.language.layers`.

Phase, direction, step and temperature are found on mmlu_val; everything is reported on mmlu_test_shared. Five solved
questions of the subject before each; the same subjects in both.
"""

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from models.core.device import PRECISIONS
from models.language.causal_lm import CausalLM
from models.language.direction import (
    CalibrationDirection,
    SweepPoint,
    best_point,
    calibration_direction,
    sweep,
)
from models.language.layers import (
    BINS,
    CorrectionPhase,
    LayerFigures,
    correction_phase,
    layer_curve,
    layer_outputs,
    layer_states,
)
from models.language.next_token import next_token_questions
from models.language.null_space import last_neurons, null_basis, null_share
from tests.benchmarks.epistemic.figure import Figure, Line
from tests.benchmarks.epistemic.tables import Report, Table
from tests.benchmarks.language import RESULTS
from tests.benchmarks.language.comparison import (
    DIRECTION,
    RANDOM,
    TEMPERATURE,
    Judged,
    Part,
    compared,
    comparison_table,
    gain,
    told,
)
from tests.benchmarks.language.mmlu import SHOTS, asked, some_subjects
from tests.benchmarks.language.smollm2 import smollm2


def part(model: CausalLM, name: str, subjects: Sequence[str], most: int) -> Part:
    chosen = asked(name, subjects, most)
    questions = next_token_questions(model, chosen.items)
    print(f"{name}: {len(chosen.items)} questions, {len(questions.tree.tokens)} tokens", flush=True)
    return Part(questions, chosen.labels, layer_states(model, questions))


def curve_of(model: CausalLM, found: Part) -> tuple[LayerFigures, ...]:
    return layer_curve(layer_outputs(model, found.states, found.questions.tokens), found.labels)


def layer_table(fit: Sequence[LayerFigures], report: Sequence[LayerFigures]) -> Table:
    names = ["accuracy", "confidence", "ece", "mce"]
    rows = {
        str(one.layer): [getattr(each, name) for each in (one, other) for name in names]
        for one, other in zip(report, fit, strict=True)
    }
    return Table("Layers", "layer", [f"{name} ({part})" for part in ("test", "val") for name in names], rows)


def figure(curve: Sequence[LayerFigures]) -> Figure:
    lines = [
        Line("accuracy", [each.accuracy for each in curve]),
        Line("confidence", [each.confidence for each in curve]),
        Line("ECE", [each.ece for each in curve]),
        Line("MCE", [each.mce for each in curve]),
    ]
    names = [str(each.layer) if each.layer % 5 == 0 or each.layer == 1 else "" for each in curve]
    return Figure("SmolLM2-135M on MMLU, layer by layer", "layer", "share", names, lines)


def sweep_table(points: Sequence[SweepPoint]) -> Table:
    rows = {
        f"after layer {point.layer}, step {point.step:+.2f}": [
            point.figures.ece,
            point.figures.mce,
            point.figures.accuracy,
            point.figures.confidence,
        ]
        for point in points
    }
    return Table("Sweep on val", "change", ["ECE", "MCE", "accuracy", "confidence"], rows)


def neuron_table(model: CausalLM) -> Table:
    neurons = last_neurons(model)
    names = ["length of output weight", "share in null space", "variance of logit effect"]
    columns = (neurons.lengths, neurons.null_shares, neurons.logit_variances)
    rows = {f"neuron {n}": [f"{float(each[n]):.2e}" for each in columns] for n in neurons.entropy_neurons(5).tolist()}
    rows["median of all"] = [f"{float(each.median()):.2e}" for each in columns]
    return Table("Entropy neurons of the last layer", "neuron", names, rows)


def words(
    model: CausalLM,
    phase: CorrectionPhase,
    direction: CalibrationDirection,
    chosen: SweepPoint,
    judged: Mapping[str, Sequence[Judged]],
) -> list[str]:
    basis = null_basis(model)
    share, chance = float(null_share(direction.vector, basis)), (basis.shape[1] / model.width) ** 0.5
    eces = {name: found[0].ece() for name, found in judged.items() if name != RANDOM}
    best = min((TEMPERATURE, DIRECTION), key=eces.__getitem__)
    return [
        f"Correction phase on val: layers {phase.layers[0]} to {phase.layers[-1]}, ECE peaks after layer {phase.peak}.",
        f"Chosen on val: after layer {chosen.layer}, step {chosen.step:+.2f}; the layers' changes agree to"
        f" {direction.agreement:.2f} (1: all point one way).",
        f"ECE of the direction less than of random ones by {told(gain(judged))}.",
        f"Of direction and temperature, {best} has the lower ECE on test: {eces[best]:.3f}; it counts only where the"
        " intervals above are apart.",
        f"Share of the direction in the unembedding's null space ({basis.shape[1]} of {model.width} directions):"
        f" {share:.3f}, {chance:.3f} by chance.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", nargs="+", default=some_subjects(57))
    parser.add_argument("--fit", type=int, default=100, help="questions of val a subject, at most")
    parser.add_argument("--report", type=int, default=1000, help="questions of test a subject, at most")
    parser.add_argument("--precision", choices=list(PRECISIONS), default="bfloat16")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    model, subjects = smollm2(given.precision), given.subjects
    report = part(model, "mmlu_test_shared", subjects, given.report)
    fit = part(model, "mmlu_val", subjects, given.fit)
    curves = [curve_of(model, each) for each in (fit, report)]
    tables, findings = [layer_table(*curves)], ["No correction phase was found on val."]
    phase = correction_phase(curves[0])
    if phase is not None:
        direction = calibration_direction(fit.states, phase)
        points = sweep(model, fit.questions, fit.labels, direction, sorted({phase.peak, model.layers}))
        chosen = best_point(points)
        judged = compared(model, fit, report, direction, chosen)
        tables += [comparison_table(judged), sweep_table(points)]
        findings = words(model, phase, direction, chosen, judged)
    about = {
        "model": "SmolLM2-135M-Instruct, 4-bit weights unpacked",
        "precision": given.precision,
        "fit": f"{len(fit.labels)} questions of mmlu_val",
        "report": f"{len(report.labels)} questions of mmlu_test_shared",
        "subjects": f"{len(subjects)}: {', '.join(subjects)}",
        "prompt": f"MMLU's own, {SHOTS} solved questions of the subject; {BINS} bins of equal width",
    }
    command = shlex.join(["python", "-m", "tests.benchmarks.language.layers", *sys.argv[1:]])
    made = Report("layers", "MMLU layer by layer", command, about, [*tables, neuron_table(model)], findings)
    made.write(given.out)
    (given.out / "layers.svg").write_text(figure(curves[1]).svg())
    print(made.markdown())


if __name__ == "__main__":
    main()
