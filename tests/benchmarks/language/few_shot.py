"""Few-shot recalibration on MMLU subjects that it has not seen: `python -m tests.benchmarks.language.few_shot`.

Subjects come in five folds. Of each fold a temperature and the recalibrator are fitted on the other folds' validation
questions; the recalibrator then reads a few validation questions of each new subject without their labels. Reported are
the test questions of all subjects, each when its fold was held out.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

from models.core.device import PRECISIONS
from models.core.outputs import ModelOutputs
from models.language.few_shot_recalibration import DomainRows, FewShotPlan, FewShotRecalibrator, read_curves
from models.language.layer_study_comparison import Judged, fitted_temperature
from models.language.layer_study_part import ReadPart
from models.language.layers import BINS
from models.metrics.bootstrap import bootstrap_interval
from models.metrics.calibration_bootstrap import calibration_intervals
from tests.benchmarks.epistemic.tables import Report, Table
from tests.benchmarks.language import RESULTS
from tests.benchmarks.language.comparison import told
from tests.benchmarks.language.mmlu import Asked
from tests.benchmarks.language.parts import part
from tests.benchmarks.language.sets import MMLU, parts
from tests.benchmarks.language.smollm2 import smollm2

FOLDS = 5
PLAN = FewShotPlan()
RAW, TEMPERATURE, FEW_SHOT, CONSTANT = "nothing", "temperature", "few-shot recalibration", "one confidence for all"


def domain_rows(outputs: ModelOutputs, labels: Tensor, domains: Tensor) -> DomainRows:
    judged = Judged.of(outputs.log_probabilities(), labels)
    return DomainRows(judged.confidence, outputs.require_features(), judged.correct, domains)


def numbered(chosen: Asked, names: list[str]) -> Tensor:
    return torch.tensor([names.index(subject) for subject in chosen.subjects])


def held_out_confidences(fit: ReadPart, report: ReadPart, fit_domains: Tensor, domains: Tensor) -> dict[str, Tensor]:
    """(N,) a way: of every report question by what was fitted without its subject."""
    known, asked = fit.answers(), report.answers()
    shown, rows = domain_rows(known, fit.labels, fit_domains), domain_rows(asked, report.labels, domains)
    found = {name: rows.confidences.clone() for name in (RAW, TEMPERATURE, FEW_SHOT, CONSTANT)}
    for fold in range(FOLDS):
        learnt, new = fit_domains % FOLDS != fold, domains % FOLDS == fold
        cooled = fitted_temperature(known.take(learnt), fit.labels[learnt]).transform(asked.take(new))
        found[TEMPERATURE][new] = cooled.calibrated_log_probabilities().amax(dim=1).exp()
        found[CONSTANT][new] = shown.correct[learnt].float().mean()
        found[FEW_SHOT][new] = _recalibrated(_taken(shown, learnt), _taken(shown, ~learnt), _taken(rows, new))
    return found


def _recalibrated(learnt: DomainRows, shown: DomainRows, asked: DomainRows) -> Tensor:
    method, found = FewShotRecalibrator.fit(learnt, PLAN), torch.empty(len(asked.domains))
    for domain in torch.unique(asked.domains):
        some = (shown.domains == domain).nonzero()[: PLAN.shown, 0]
        curve = method.curve(shown.confidences[some], shown.embeddings[some])
        here = asked.domains == domain
        found[here] = read_curves(curve, asked.confidences[here])
    return found


def _taken(rows: DomainRows, chosen: Tensor) -> DomainRows:
    return DomainRows(*(getattr(rows, name)[chosen] for name in ("confidences", "embeddings", "correct", "domains")))


def losses(confidence: Tensor, correct: Tensor) -> Tensor:
    return binary_cross_entropy(confidence, correct.float(), reduction="none")


def subject_gap(confidence: Tensor, correct: Tensor, domains: Tensor) -> float:
    """Mean over subjects of the distance between mean confidence and accuracy."""
    gaps = [
        (confidence[domains == each].mean() - correct[domains == each].float().mean()).abs()
        for each in torch.unique(domains)
    ]
    return float(torch.stack(gaps).mean())


def table(confidences: dict[str, Tensor], correct: Tensor, domains: Tensor) -> Table:
    rows = {}
    for name, confidence in confidences.items():
        ece = calibration_intervals(confidence, correct, bins=BINS)["ece"]
        loss = losses(confidence, correct)
        less = bootstrap_interval(lambda each: float(each.mean()), losses(confidences[TEMPERATURE], correct) - loss)
        gap = f"{subject_gap(confidence, correct, domains):.3f}"
        change = None if name == TEMPERATURE else told(less, "+.4f")
        rows[name] = [told(ece), gap, f"{float(loss.mean()):.4f}", change]
    columns = ["ECE (95 %)", "mean gap of a subject", "NLL of being right", "NLL lower than temperature's by (95 %)"]
    return Table("Subjects not seen before", "way", columns, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", choices=list(PRECISIONS), default="bfloat16")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    model, chosen = smollm2(given.precision), parts(MMLU)
    names = sorted(set(chosen.fit.subjects))
    fit, report = part(model, chosen.fit), part(model, chosen.report)
    fit_domains, domains = numbered(chosen.fit, names), numbered(chosen.report, names)
    correct = Judged.of(report.answers().log_probabilities(), report.labels).correct
    found = held_out_confidences(fit, report, fit_domains, domains)
    about = {
        "model": "SmolLM2-135M-Instruct, 4-bit weights unpacked",
        "precision": model.precision,
        "data": chosen.about,
        "questions": f"{len(fit.labels)} to fit on, {len(report.labels)} to report on, accuracy"
        f" {float(correct.float().mean()):.3f}; {PLAN.shown} without labels shown of each new subject",
    }
    command = "python -m tests.benchmarks.language.few_shot"
    made = Report("few_shot", "Few-shot recalibration", command, about, [table(found, correct, domains)])
    made.write(given.out)
    print(made.markdown())


if __name__ == "__main__":
    main()
