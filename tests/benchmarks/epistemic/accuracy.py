"""Does accuracy fall as the epistemic score rises? `python -m tests.benchmarks.epistemic.accuracy`.

Rows inside the distribution only: CIFAR-10 test images, some scored, others the reference of the percentiles. About
three minutes on one core.
"""

import argparse
import time
from dataclasses import replace

import torch
from torch import Tensor

from models.core.reference import Reference
from models.gradients.family import PRESETS, family_score
from models.metrics.bootstrap import bootstrap_interval
from models.metrics.ranking import auroc, spearman
from models.metrics.selective import aurc
from tests.benchmarks.epistemic.cifar10_network import DATA, trained_network
from tests.benchmarks.epistemic.exact import last_layer_score
from tests.benchmarks.epistemic.figure import Figure, Line
from tests.benchmarks.epistemic.sets import SEED, Rows, strip_rows
from tests.benchmarks.epistemic.subject import Subject, cifar10_subject
from tests.benchmarks.epistemic.tables import RESULTS, Report, Table

BINS = 10
NAMES = [f"{100 * place // BINS}-{100 * (place + 1) // BINS} %" for place in range(BINS)]


def scores_of(subject: Subject, rows: Rows) -> tuple[dict[str, Tensor], Tensor]:
    """Scores (N,) by name, and whether the network is right (N,)."""
    features = subject.features(rows.pixels)
    logits = subject.logits(features)
    probabilities = logits.softmax(dim=1)
    scores = {
        "regrad": family_score(subject.gradients, subject.images(rows.pixels), PRESETS["regrad"]).double(),
        "regrad, last layer": last_layer_score(logits, features, replace(PRESETS["regrad"], depth=1)),
        "max probability": 1 - probabilities.amax(dim=1),
        "entropy": -(probabilities * logits.log_softmax(dim=1)).sum(dim=1),
    }
    return scores, logits.argmax(dim=1) == rows.labels


def by_equal_bins(score: Tensor, right: Tensor, bins: int = BINS) -> list[float]:
    """Accuracy of the rows in bins of equal size, lowest scores first."""
    return [part.double().mean().item() for part in right[score.argsort()].tensor_split(bins)]


def by_percentile(percentile: Tensor, right: Tensor, bins: int = BINS) -> list[tuple[int, float | None]]:
    """Rows, and their accuracy where there are any, in equal steps of the percentile (N,) in [0, 1]."""
    place = (percentile * bins).long().clamp_max(bins - 1)
    parts = [right[place == bin_] for bin_ in range(bins)]
    return [(len(part), part.double().mean().item() if len(part) else None) for part in parts]


def report(scores: dict[str, Tensor], reference: Tensor, right: Tensor, about: dict[str, str]) -> Report:
    binned = {name: by_equal_bins(score, right) for name, score in scores.items()}
    percentiles = by_percentile(Reference.fit(reference).percentile(scores["regrad"].float()), right)
    tables = [
        Table(
            "Accuracy in ten equal bins of the score",
            "score from lowest to highest",
            list(binned),
            {name: [accuracies[place] for accuracies in binned.values()] for place, name in enumerate(NAMES)},
        ),
        Table(
            "Accuracy by the percentile of `regrad` among the reference rows",
            "percentile",
            ["rows", "accuracy"],
            {name: [str(count), accuracy] for name, (count, accuracy) in zip(NAMES, percentiles, strict=True)},
        ),
        _ranking(scores, right),
    ]
    words = [_fall(name, accuracies) for name, accuracies in binned.items()]
    command = "python -m tests.benchmarks.epistemic.accuracy"
    return Report("accuracy", "Accuracy against the epistemic score", command, about, tables, words)


def _ranking(scores: dict[str, Tensor], right: Tensor) -> Table:
    rows = {}
    for name, score in scores.items():
        found = [bootstrap_interval(measure, score, ~right, seed=SEED) for measure in (auroc, aurc)]
        rows[name] = [f"{part.value:.4f} ({part.low:.4f} to {part.high:.4f})" for part in found]
    columns = ["AUROC of errors, higher is better", "AURC, lower is better"]
    return Table("Does the score find the errors? 95 % intervals by bootstrap", "score", columns, rows)


def _fall(name: str, accuracies: list[float]) -> str:
    order = spearman(torch.arange(BINS).double(), torch.tensor(accuracies, dtype=torch.float64))
    return (
        f"{name}: accuracy goes from {accuracies[0]:.3f} in the lowest bin to {accuracies[-1]:.3f} in the highest;"
        f" Spearman between bin and accuracy {order:.3f}."
    )


def figure(scores: dict[str, Tensor], right: Tensor) -> Figure:
    lines = [Line(name, by_equal_bins(score, right)) for name, score in scores.items()]
    ends = [str(100 * (place + 1) // BINS) for place in range(BINS)]
    return Figure("Accuracy by bin of the score", "rows up to this percentile of the score", "accuracy", ends, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2500)
    parser.add_argument("--reference", type=int, default=1000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    began = time.perf_counter()
    subject = cifar10_subject(trained_network())
    rows, reference = strip_rows(DATA / "cifar10_test_shared.npz", "scored", given.rows, given.reference)
    reference = replace(reference, name="reference")
    scores, right = scores_of(subject, rows)
    about = {
        "network": f"{subject.name}, accuracy {right.double().mean():.4f} on the scored rows",
        "data": f"{rows.describe()}; {reference.describe()}; disjoint, neither trained on",
        "seed": str(SEED),
    }
    familiar = family_score(subject.gradients, subject.images(reference.pixels), PRESETS["regrad"])
    about["took"] = f"{time.perf_counter() - began:.0f} s"
    made = report(scores, familiar, right, about)
    made.write()
    (RESULTS / "accuracy.svg").write_text(figure(scores, right).svg())
    print(made.markdown())


if __name__ == "__main__":
    main()
