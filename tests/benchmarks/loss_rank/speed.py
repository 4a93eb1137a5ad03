"""What a cache of views saves, and what it costs: `python -m tests.benchmarks.loss_rank.speed`.

The same heads for the same views, from the cache and with a decoded, augmented view and a forward pass for every row,
in one process, in turn, on one core; ratios are taken step by step. Then the rate of filling, beside the same loop
without writing and the forward pass alone. Five minutes once the views are cached. Let the machine do nothing else.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from models.checkpoints.efficientnet_lite0_head import PLAN as SHIPPED
from models.checkpoints.efficientnet_lite0_head import VIEWS
from models.core.method import State
from models.feature_cache.forward import ForwardPasses
from models.feature_cache.pictures import Pictures
from models.feature_cache.view_rows import ViewSource
from models.feature_cache.views import LiveViews
from models.training.head_plan import HeadPlan
from models.training.loss_rank_head import train_head
from tests.benchmarks.epistemic.tables import Report, Table
from tests.benchmarks.loss_rank import RESULTS
from tests.benchmarks.loss_rank.chosen_views import SomeViews
from tests.benchmarks.loss_rank.fill_rate import BARE, FILL, LOOP, bytes_table, rates, rates_table
from tests.benchmarks.loss_rank.upstream import described, lite0, upstream_rows, upstream_views

AIM = 180
HEADS = {
    "paper's, 2 layers of 512": HeadPlan(),
    f"shipped, {SHIPPED.depth} layers of {SHIPPED.width}": HeadPlan(width=SHIPPED.width, depth=SHIPPED.depth),
}
JUDGED = 64  # views: the one check of each training is to take no time


@dataclass(frozen=True, slots=True)
class Training:
    """Milliseconds of each step but the first, which sets up, seconds in all, and the weights after the last step."""

    steps: Sequence[float]
    seconds: float
    state: State


@dataclass(frozen=True, slots=True)
class Pair:
    """The same training twice."""

    cached: Training
    live: Training

    def ratios(self) -> list[float]:
        return [live / cached for cached, live in zip(self.cached.steps, self.live.steps, strict=True)]

    def difference(self) -> float:
        """Largest of all tensors, relative to the tensor's largest value."""
        return max(
            float((self.cached.state[name] - tensor).abs().max() / tensor.abs().max())
            for name, tensor in self.live.state.items()
        )


def timed(views: ViewSource, held: tuple[Tensor, Tensor], plan: HeadPlan) -> Training:
    """With one check, after the last step."""
    began, marks = time.perf_counter(), list[float]()
    plan = replace(plan, checks=1)
    found = train_head(views, held, lite0().dimensions, plan, None, lambda *_: marks.append(time.perf_counter()))
    seconds = time.perf_counter() - began
    return Training([1000 * (end - begin) for begin, end in pairwise(marks)], seconds, found.head.state())


def live_views() -> LiveViews:
    """Nothing is kept from one view to the next, decoded images included."""
    passes = ForwardPasses(lite0(), upstream_rows(), VIEWS, at_once=1)
    passes.pictures = Pictures(passes.rows, lite0().input_spec, 0)
    return LiveViews(passes, threads=1)


def pairs_of(plan: HeadPlan, steps: int, rounds: int) -> list[Pair]:
    """Each round on the next batches, one more than `steps`; which way goes first alternates."""
    cached, live = upstream_views(), live_views()
    last = cached.read(cached.total - JUDGED, cached.total)
    held, found = (last.features, last.losses), []
    for round_ in range(rounds):
        rows = (steps + 1) * plan.batch
        ways = [SomeViews(each, round_ * rows, (round_ + 1) * rows) for each in (cached, live)]
        taken = {place: timed(ways[place], held, plan) for place in ((0, 1), (1, 0))[round_ % 2]}
        found.append(Pair(taken[0], taken[1]))
    return found


def epoch(plan: HeadPlan) -> tuple[float, int]:
    """Seconds, and views, of one training over all that is cached."""
    cached = upstream_views()
    last = cached.read(cached.total - JUDGED, cached.total)
    return timed(cached, (last.features, last.losses), plan).seconds, cached.total


def training_row(plan: HeadPlan, steps: int, rounds: int) -> list[float | str | None]:
    pairs = pairs_of(plan, steps, rounds)
    ratios = sorted(ratio for pair in pairs for ratio in pair.ratios())
    cached, live = (median(step for pair in pairs for step in way(pair).steps) for way in (_cached, _live))
    seconds, views = epoch(plan)
    live_epoch = live / 1000 * views / plan.batch
    return [
        f"{cached:.2f}",
        f"{live:.0f}",
        f"{median(ratios):.0f} ({ratios[0]:.0f} to {ratios[-1]:.0f})",
        f"{max(pair.difference() for pair in pairs):.1e}",
        f"{seconds:.2f}",
        f"{live_epoch:.0f}",
        f"{live_epoch / seconds:.0f}",
    ]


def _cached(pair: Pair) -> Training:
    return pair.cached


def _live(pair: Pair) -> Training:
    return pair.live


def words(training: Table, filling: Mapping[str, Sequence[float]]) -> list[str]:
    told = []
    for name, row in training.rows.items():
        ratio = float(str(row[-1]))
        told.append(
            f"Head {name}: {ratio:.0f} times as fast an epoch over cached views;"
            f" the aim of {AIM} is {'met' if ratio >= AIM else 'not met'}."
        )
    for name in (LOOP, BARE):
        ratio = median(ours / other for ours, other in zip(filling[FILL], filling[name], strict=True))
        told.append(f"Filling has {ratio:.3f} of the rate of: {name}.")
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=12, help="of each training that count")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=512, help="to fill with")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    columns = [
        "cached, ms a step",
        "live, ms a step",
        "live ÷ cached (lowest to highest)",
        "largest relative difference of weights",
        "cached epoch, s",
        "live epoch, s",
        "ratio of epochs",
    ]
    rows = {name: training_row(plan, given.steps, given.rounds) for name, plan in HEADS.items()}
    training = Table("The same head for the same views", "head", columns, rows)
    filling = rates(given.images, given.rounds)
    tables = [training, rates_table(filling), bytes_table(median(filling[FILL]))]
    about = {
        **described(),
        "training": f"{given.rounds} rounds of {given.steps} steps a head and way, after one more;"
        f" {HeadPlan().batch} views a step; live: decode, augment, forward pass in batches of 16;"
        " the cache is in the page cache",
        "epochs": "cached: measured over all views; live: its median step times their number",
        "filling": f"{given.rounds} rounds of {given.images} images, a view each, after one that does not count",
    }
    command = "python -m tests.benchmarks.loss_rank.speed"
    made = Report("speed", "What the cache of views saves", command, about, tables, words(training, filling))
    made.write(given.out)
    print(made.markdown())


if __name__ == "__main__":
    main()
