"""Which labels to buy next: `python -m tests.benchmarks.epistemic.active_learning`.

A ResNet-8 trained anew on 500 CIFAR-10 labels, then on 500 more a round, for five rounds: chosen at random, by entropy
or by REGrad among the rest of a seeded pool. Five seeds, each with its own start, pool and weights, which the three
strategies share. A finished run is a line of JSON, and a second command goes on from there. Three quarters of an
hour on one core.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev

import torch
from torch import Tensor

from models.gradients.family import PRESETS, family_score
from tests.benchmarks.epistemic.cifar10_network import DATA, ResNet20, logits_of, train
from tests.benchmarks.epistemic.figure import Figure, Line
from tests.benchmarks.epistemic.sets import SEED, Rows, strip_rows
from tests.benchmarks.epistemic.strips import normalised
from tests.benchmarks.epistemic.subject import cifar10_subject
from tests.benchmarks.epistemic.tables import RESULTS, Report, Table

START, MORE, ROUNDS, POOL, TEST = 500, 500, 5, 5000, 2000
WIDTH, EPOCHS, STEPS, BATCH, RATE = 8, 15, 500, 32, 0.1
SIZES = [START + MORE * round_ for round_ in range(ROUNDS + 1)]
RUNS = RESULTS / "active-learning.jsonl"

Strategy = Callable[[ResNet20, Tensor, int], Tensor]


@dataclass(frozen=True, slots=True)
class Run:
    """`accuracies` on the test rows, after START labels and after each round."""

    strategy: str
    seed: int
    accuracies: Sequence[float]
    seconds: float


def at_random(network: ResNet20, pixels: Tensor, seed: int) -> Tensor:
    return torch.rand(len(pixels), generator=torch.Generator().manual_seed(seed))


def by_entropy(network: ResNet20, pixels: Tensor, seed: int) -> Tensor:
    logits = logits_of(network, pixels)
    return -(logits.softmax(dim=1) * logits.log_softmax(dim=1)).sum(dim=1)


def by_regrad(network: ResNet20, pixels: Tensor, seed: int) -> Tensor:
    return family_score(cifar10_subject(network).gradients, normalised(pixels), PRESETS["regrad"])


STRATEGIES: dict[str, Strategy] = {"random": at_random, "entropy": by_entropy, "regrad": by_regrad}


def trained(pixels: Tensor, labels: Tensor, seed: int) -> ResNet20:
    """EPOCHS over the labels, and about STEPS steps at least."""
    torch.manual_seed(seed)
    network = ResNet20(width=WIDTH, blocks=1)
    epochs = max(EPOCHS, round(STEPS / (len(labels) // BATCH)))
    train(network, pixels, labels, epochs=epochs, seed=seed, batch=BATCH, rate=RATE, tell=lambda line: None)
    return network


def accuracy(network: ResNet20, test: Rows) -> float:
    return round((logits_of(network, test.pixels).argmax(dim=1) == test.labels).double().mean().item(), 4)


def run(strategy: str, seed: int, rows: Rows, test: Rows, start: ResNet20) -> Run:
    """`rows` are START labelled ones, which `start` was trained on, and then the pool."""
    began = time.perf_counter()
    labelled = torch.arange(len(rows)) < START
    accuracies = [accuracy(start, test)]
    network = start
    for round_ in range(ROUNDS):
        candidates = torch.nonzero(~labelled)[:, 0]
        scores = STRATEGIES[strategy](network, rows.pixels[candidates], 100 * seed + round_)
        labelled[candidates[scores.topk(MORE).indices]] = True
        network = trained(rows.pixels[labelled], rows.labels[labelled], seed)
        accuracies.append(accuracy(network, test))
    return Run(strategy, seed, accuracies, round(time.perf_counter() - began, 1))


def _runs(strategies: Sequence[str], seed: int, test: Rows) -> Iterator[Run]:
    if not strategies:
        return
    rows = strip_rows(DATA / "cifar10_train.npz", "start and pool", START + POOL, seed=SEED + seed)[0]
    start = trained(rows.pixels[:START], rows.labels[:START], seed)
    for strategy in strategies:
        yield run(strategy, seed, rows, test, start)


def finished(path: Path) -> list[Run]:
    if not path.exists():
        return []
    return [Run(**json.loads(line)) for line in path.read_text().splitlines()]


def report(runs: Sequence[Run], about: dict[str, str]) -> Report:
    curves = {name: _curve(runs, name) for name in STRATEGIES}
    seeds = len(runs) // len(STRATEGIES)
    rows = {name: [f"{middle:.4f} ± {spread:.4f}" for middle, spread in curve] for name, curve in curves.items()}
    title = f"Accuracy by number of labels, mean ± standard deviation of {seeds} seeds"
    leads = [_lead(runs, other) for other in STRATEGIES if other != "regrad"]
    command = "python -m tests.benchmarks.epistemic.active_learning"
    tables = [Table(title, "strategy", [str(size) for size in SIZES], rows)]
    return Report("active-learning", "Active learning", command, about, tables, leads)


def figure(runs: Sequence[Run]) -> Figure:
    curves = {name: _curve(runs, name) for name in STRATEGIES}
    lines = [
        Line(name, [middle for middle, _ in curve], [(middle - spread, middle + spread) for middle, spread in curve])
        for name, curve in curves.items()
    ]
    return Figure(
        "Accuracy by labels, ± standard deviation", "labels", "accuracy", [str(size) for size in SIZES], lines
    )


def _curve(runs: Sequence[Run], strategy: str) -> list[tuple[float, float]]:
    columns = zip(*(run.accuracies for run in runs if run.strategy == strategy), strict=True)
    return [(mean(column), stdev(column)) for column in columns]


def _lead(runs: Sequence[Run], other: str) -> str:
    """Seed by seed, mean over the rounds after the start, which is the same for both."""
    after = {(run.strategy, run.seed): mean(run.accuracies[1:]) for run in runs}
    leads = [after["regrad", seed] - after[other, seed] for name, seed in after if name == other]
    wins = sum(lead > 0 for lead in leads)
    return (
        f"regrad minus {other}, mean accuracy over the rounds, seed by seed: {mean(leads):+.4f} ± {stdev(leads):.4f};"
        f" ahead with {wins} of {len(leads)} seeds."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--runs", type=Path, default=RUNS, help="finished runs; remove the file to begin anew")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.runs.parent.mkdir(parents=True, exist_ok=True)
    test = strip_rows(DATA / "cifar10_test_shared.npz", "test", TEST)[0]
    done = {(run.strategy, run.seed) for run in finished(given.runs)}
    for seed in range(given.seeds):
        missing = [strategy for strategy in STRATEGIES if (strategy, seed) not in done]
        for found in _runs(missing, seed, test):
            with given.runs.open("a") as file:
                file.write(json.dumps(asdict(found)) + "\n")
            print(found, flush=True)
    runs = [run for run in finished(given.runs) if run.seed < given.seeds]
    about = {
        "network": f"ResNet-8 of width {WIDTH}, trained anew each round",
        "training": f"{EPOCHS} epochs, at least about {STEPS} steps, {BATCH} rows a step",
        "data": f"{START} labels and a pool of {POOL} of cifar10_train.npz; {test.describe()}",
        "seed": f"{SEED} + 0..{given.seeds - 1} for rows, 0..{given.seeds - 1} for weights",
        "took": f"{sum(run.seconds for run in runs):.0f} s, all runs together",
    }
    made = report(runs, about)
    made.write()
    (RESULTS / "active-learning.svg").write_text(figure(runs).svg())
    print(made.markdown())


if __name__ == "__main__":
    main()
