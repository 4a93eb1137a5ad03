"""Does an uncertainty head harm its network? `python -m tests.benchmarks.loss_rank.stop_gradient`.

A ResNet-8 on CIFAR-10 images, trained with cross-entropy and a loss-rank head's ranking loss together: on detached
features, on attached ones, and without a head. The arms share initial weights, order and augmentation of the images.
A finished run is a line of JSON, and a second command goes on from there. A quarter of an hour on one core.
"""

import argparse
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from models.backbones.backbone import Backbone, cut_at
from models.core.checkpoint import weights_bytes
from models.core.method import Dimensions
from models.metrics.ranking import auroc
from models.metrics.retrieval import nearest_is_right
from models.training.ranking_loss import pair_loss
from models.uncertainty.loss_rank import LossRank, initial_state, loss_ranks
from tests.benchmarks.epistemic.cifar10_network import DATA, ResNet20, augmented
from tests.benchmarks.epistemic.sets import SEED, Rows, strip_rows
from tests.benchmarks.epistemic.strips import normalised
from tests.benchmarks.epistemic.tables import Report, Table
from tests.benchmarks.loss_rank import RESULTS
from tests.benchmarks.loss_rank.runs import finished, note, spread

ALONE, DETACHED, ATTACHED = "no head", "stop-gradient on", "stop-gradient off"
ARMS = (ALONE, DETACHED, ATTACHED)
WIDTH, BATCH, RATE = 8, 64, 0.1
HEAD_WIDTH, HEAD_RATE = 128, 1e-3
RUNS = RESULTS / "stop_gradient.jsonl"

Head = dict[str, nn.Parameter]


@dataclass(frozen=True, slots=True)
class Run:
    """`weights` is the sha256 of the network's tensors; AUROC is of being wrong, R-AUROC of a right nearest row."""

    arm: str
    seed: int
    epochs: int
    weights: str
    accuracy: float
    recall: float
    auroc: float | None
    r_auroc: float | None
    auroc_entropy: float
    r_auroc_entropy: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Trained:
    """A cut network and its head, which the arm without one leaves as it began."""

    backbone: Backbone
    head: Head
    weights: str


def trained(rows: Rows, arm: str, seed: int, epochs: int) -> Trained:
    torch.manual_seed(seed)
    network = ResNet20(width=WIDTH, blocks=1)
    dimensions = Dimensions(classes=network.fc.out_features, features=network.fc.in_features)
    fresh = initial_state(LossRank(dimensions, HEAD_WIDTH), torch.Generator().manual_seed(seed))
    head = {name: nn.Parameter(tensor) for name, tensor in fresh.items()}
    backbone = cut_at(network, network.fc)
    parts = nn.ModuleList([backbone.trunk, backbone.head]).train().to(memory_format=torch.channels_last)
    _train(parts, head, rows, arm, seed, epochs)
    parts.eval().requires_grad_(False)
    return Trained(backbone, head, hashlib.sha256(weights_bytes(parts.state_dict())).hexdigest())


def _train(parts: nn.ModuleList, head: Head, rows: Rows, arm: str, seed: int, epochs: int) -> None:
    """In place: SGD on one cycle for the network, AdamW for the head, each with an optimiser of its own."""
    trunk, last = parts
    generator = torch.Generator().manual_seed(seed)
    batches = len(rows) // BATCH
    optimiser = torch.optim.SGD(parts.parameters(), lr=RATE, momentum=0.9, nesterov=True, weight_decay=5e-4)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=epochs * batches, pct_start=0.25)
    ranking = torch.optim.AdamW(head.values(), lr=HEAD_RATE, weight_decay=1e-4)
    images = normalised(rows.pixels)
    for _ in range(epochs):
        for batch in torch.randperm(len(rows), generator=generator).split(BATCH)[:batches]:
            features = trunk(augmented(images[batch], generator))
            losses = cross_entropy(last(features), rows.labels[batch], reduction="none")
            optimiser.zero_grad()
            ranking.zero_grad()
            (losses.mean() + ranking_term(head, features, losses, arm)).backward()
            optimiser.step()
            ranking.step()
            cycle.step()


def ranking_term(head: Head, features: Tensor, losses: Tensor, arm: str) -> Tensor:
    """The head's loss, with weight 1 as in arXiv 2402.16569; its gradient reaches the features in one arm alone."""
    if arm == ALONE:
        return torch.zeros(())
    return pair_loss(loss_ranks(head, features if arm == ATTACHED else features.detach()), losses.detach())


def run(train: Rows, test: Rows, arm: str, seed: int, epochs: int) -> Run:
    began = time.perf_counter()
    found = trained(train, arm, seed, epochs)
    measures = judged(found, test, arm)
    seconds = round(time.perf_counter() - began, 1)
    return Run(arm=arm, seed=seed, epochs=epochs, weights=found.weights, seconds=seconds, **measures)


@torch.no_grad()
def judged(found: Trained, test: Rows, arm: str) -> dict[str, float | None]:
    """The measures of `Run` on the test rows; those of u are None where there is no head."""
    features = torch.cat([found.backbone.trunk(normalised(part)) for part in test.pixels.split(250)])
    logits = found.backbone.head(features)
    wrong, far = logits.argmax(dim=1) != test.labels, ~nearest_is_right(features, test.labels)
    values = None if arm == ALONE else loss_ranks(found.head, features)
    entropy = torch.special.entr(logits.double().softmax(dim=1)).sum(dim=1)
    return {
        "accuracy": float((~wrong).double().mean()),
        "recall": float((~far).double().mean()),
        "auroc": None if values is None else auroc(values, wrong),
        "r_auroc": None if values is None else auroc(values, far),
        "auroc_entropy": auroc(entropy, wrong),
        "r_auroc_entropy": auroc(entropy, far),
    }


def same_weights(runs: Sequence[Run]) -> list[str]:
    """What the hashes say. Raises AssertionError where a head on detached features has changed its network."""
    by_arm = {arm: {run.seed: run.weights for run in runs if run.arm == arm} for arm in ARMS}
    assert by_arm[DETACHED] == by_arm[ALONE], "stop-gradient is on, and the network's weights differ"
    moved = sum(by_arm[ATTACHED][seed] != sha256 for seed, sha256 in by_arm[ALONE].items())
    seeds = len(by_arm[ALONE])
    return [
        f"With stop-gradient on the network's tensors are bit-identical to those without a head, with {seeds} of"
        f" {seeds} seeds (sha256 over all tensors); with it off they differ with {moved} of {seeds}."
    ]


def lead(runs: Sequence[Run], measure: str, first: str, second: str) -> str:
    """Difference of two arms, seed by seed."""
    values = {(run.arm, run.seed): getattr(run, measure) for run in runs}
    gaps = [values[first, seed] - values[second, seed] for arm, seed in values if arm == first]
    deviation = stdev(gaps) if len(gaps) > 1 else 0.0
    ahead = sum(gap > 0 for gap in gaps)
    return (
        f"{measure}, {first} minus {second}, seed by seed: {mean(gaps):+.4f} ± {deviation:.4f};"
        f" higher with {ahead} of {len(gaps)} seeds."
    )


def report(runs: Sequence[Run], about: Mapping[str, str]) -> Report:
    measures = {
        "accuracy": "accuracy",
        "auroc": "AUROC of being wrong, u",
        "auroc_entropy": "the same, entropy",
        "recall": "R@1",
        "r_auroc": "R-AUROC, u",
        "r_auroc_entropy": "R-AUROC, entropy",
    }
    rows = {
        arm: [spread([getattr(run, measure) for run in runs if run.arm == arm]) for measure in measures] for arm in ARMS
    }
    seeds = len(runs) // len(ARMS)
    title = f"Mean ± standard deviation over {seeds} seeds"
    words = [
        *same_weights(runs),
        lead(runs, "accuracy", ATTACHED, DETACHED),
        lead(runs, "auroc", ATTACHED, DETACHED),
        lead(runs, "r_auroc", ATTACHED, DETACHED),
    ]
    command = "python -m tests.benchmarks.loss_rank.stop_gradient"
    table = Table(title, "arm", list(measures.values()), rows)
    return Report("stop_gradient", "Stop-gradient on and off", command, about, [table], words)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--runs", type=Path, default=RUNS, help="finished runs; remove the file to begin anew")
    given = parser.parse_args()
    torch.set_num_threads(1)
    train = strip_rows(DATA / "cifar10_train.npz", "trained on", 5000)[0]
    test = strip_rows(DATA / "cifar10_test_shared.npz", "test", 5000)[0]
    done = {(run.arm, run.seed) for run in finished(given.runs, Run) if run.epochs == given.epochs}
    for seed in range(given.seeds):
        for arm in ARMS:
            if (arm, seed) not in done:
                note(given.runs, run(train, test, arm, seed, given.epochs))
    runs = [run for run in finished(given.runs, Run) if run.seed < given.seeds and run.epochs == given.epochs]
    about = {
        "network": f"ResNet-8 of width {WIDTH}, {given.epochs} epochs, {BATCH} rows a step",
        "head": f"two hidden layers of {HEAD_WIDTH}, pairwise ranking loss of margin 0.1, weight 1",
        "data": f"{train.describe()}; {test.describe()}",
        "seed": f"{SEED} for rows, 0..{given.seeds - 1} for weights, order and augmentation",
        "took": f"{sum(run.seconds for run in runs):.0f} s, all runs together",
    }
    made = report(runs, about)
    made.write(RESULTS)
    print(made.markdown())


if __name__ == "__main__":
    main()
