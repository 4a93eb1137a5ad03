"""What a loss-rank head's loss, size and data are worth: `python -m tests.benchmarks.loss_rank.ablation`.

One setting at a time, the others as in the default, five seeds each, on views of the upstream images as
EfficientNet-Lite0 sees them. Every head takes equally many steps. A finished run is a line of JSON, and a second
command goes on from there. Five minutes on one core once the outputs are cached, a quarter of an hour more before.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from statistics import mean, stdev

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from models.checkpoints.upstream import archive_images
from models.core.outputs import ModelOutputs
from models.data.splits import split
from models.feature_cache.image_rows import ImageRows
from models.metrics.ranking import auroc, spearman
from models.metrics.retrieval import nearest_is_right
from models.training.head_plan import HeadPlan
from tests.benchmarks.epistemic.cifar10_network import DATA
from tests.benchmarks.epistemic.figure import Figure, Line
from tests.benchmarks.epistemic.tables import Report, Table
from tests.benchmarks.loss_rank import RESULTS, upstream, upstream_head
from tests.benchmarks.loss_rank.image_rows import strip_images
from tests.benchmarks.loss_rank.judged_sets import reported_rows
from tests.benchmarks.loss_rank.panels import panels
from tests.benchmarks.loss_rank.runs import finished, note, spread
from tests.benchmarks.loss_rank.scores import baselines
from tests.benchmarks.loss_rank.upstream import lite0, outputs_of
from tests.benchmarks.loss_rank.upstream_head import PLAN, judging_views, places, trained, training_views

RUNS = RESULTS / "ablation.jsonl"
MEASURES = {
    "views": "Spearman(u, loss), held-out views",
    "photographs": "Spearman(u, loss), photographs",
    "cifar100": "R-AUROC, CIFAR-100",
    "flowers102": "R-AUROC, Flowers-102",
}
SHORT = {
    "views": "Spearman, views",
    "photographs": "Spearman, photos",
    "cifar100": "R-AUROC, CIFAR",
    "flowers102": "R-AUROC, flowers",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """What is varied; `share` is of the images to train on."""

    loss: str = PLAN.loss
    width: int = PLAN.width
    depth: int = PLAN.depth
    share: float = 1.0

    def plan(self, seed: int) -> HeadPlan:
        """Fewer images are passed over more often."""
        passes = round(PLAN.passes / self.share)
        return replace(PLAN, loss=self.loss, width=self.width, depth=self.depth, passes=passes, seed=seed)


DEFAULT = Setting()
SWEEPS: dict[str, dict[str, Setting]] = {
    "ranking loss": {
        "pairs": DEFAULT,
        "all pairs": Setting(loss="all_pairs"),
        "squared error": Setting(loss="squared"),
    },
    "width": {str(width): Setting(width=width) for width in (64, 128, 512)},
    "depth": {str(depth): Setting(depth=depth) for depth in (1, 2, 3)},
    "images trained on": {f"1/{part}": Setting(share=1 / part) for part in (8, 4, 2)} | {"all": DEFAULT},
}


@dataclass(frozen=True, slots=True)
class Run:
    """The fields of a `Setting`, a seed, the four measures by name, and how long it took."""

    loss: str
    width: int
    depth: int
    share: float
    seed: int
    stopped: int
    measures: dict[str, float]
    seconds: float

    @property
    def setting(self) -> Setting:
        return Setting(self.loss, self.width, self.depth, self.share)


@cache
def downstream() -> dict[str, ImageRows]:
    return {
        "cifar100": strip_images(DATA / "cifar100_test_shared.npz", 2000),
        "flowers102": archive_images(DATA / "flowers102_shared.zip"),
    }


@cache
def retrieval() -> dict[str, tuple[ModelOutputs, Tensor]]:
    """Outputs and whether the nearest other row is of another class (N,), by set."""
    found = {}
    for name, rows in downstream().items():
        outputs = outputs_of(rows)
        found[name] = outputs, ~nearest_is_right(outputs.require_features(), torch.from_numpy(rows.labels))
    return found


def measured(score: Callable[[ModelOutputs], Tensor]) -> dict[str, float]:
    """All of `MEASURES` for a score (N,) of outputs."""
    features, losses = judging_views()
    photographs = reported_rows()
    seen, labels = outputs_of(photographs), torch.from_numpy(photographs.labels)
    found = {
        "views": spearman(score(ModelOutputs(lite0().linear_head.logits(features), features=features)), losses),
        "photographs": spearman(score(seen), cross_entropy(seen.logits, labels, reduction="none")),
    }
    return found | {name: auroc(score(outputs), far) for name, (outputs, far) in retrieval().items()}


def _baseline(name: str, outputs: ModelOutputs) -> Tensor:
    return baselines(outputs)[name]


def run(setting: Setting, seed: int) -> Run:
    began = time.perf_counter()
    images = places().train
    if setting.share < 1:
        (chosen,) = split(map(str, images), seed, round(setting.share * len(images)))
        images = tuple(int(place) for place in chosen)
    found = trained(setting.plan(seed), images)
    return Run(
        loss=setting.loss,
        width=setting.width,
        depth=setting.depth,
        share=setting.share,
        seed=seed,
        stopped=found.curve[-1].step,
        measures=measured(found.head.score),
        seconds=round(time.perf_counter() - began, 1),
    )


def values(runs: Sequence[Run], setting: Setting, measure: str) -> list[float]:
    return [run.measures[measure] for run in runs if run.setting == setting]


def table(runs: Sequence[Run], beside: Mapping[str, Mapping[str, float]]) -> Table:
    """`beside` are the measures of scores that are not trained, by name."""
    rows: dict[str, list[float | str | None]] = {
        f"{constant}: {value}": [spread(values(runs, setting, measure)) for measure in MEASURES]
        for constant, sweep in SWEEPS.items()
        for value, setting in sweep.items()
    }
    rows |= {f"no head: {name}": [of_score[measure] for measure in MEASURES] for name, of_score in beside.items()}
    seeds = len(runs) // len(settings())
    return Table(f"Mean ± standard deviation over {seeds} seeds", "setting", list(MEASURES.values()), rows)


def figure(runs: Sequence[Run], constant: str) -> Figure:
    sweep, lines = SWEEPS[constant], []
    for measure in MEASURES:
        found = [values(runs, setting, measure) for setting in sweep.values()]
        middles = [mean(each) for each in found]
        spreads = [stdev(each) if len(each) > 1 else 0.0 for each in found]
        ends = [(middle - wide, middle + wide) for middle, wide in zip(middles, spreads, strict=True)]
        lines.append(Line(SHORT[measure], middles, ends))
    return Figure(f"Loss-rank head by {constant}", constant, "Spearman, R-AUROC", list(sweep), lines)


def settings() -> list[Setting]:
    """Each once, the default first."""
    return list(dict.fromkeys([DEFAULT, *(setting for sweep in SWEEPS.values() for setting in sweep.values())]))


def words(runs: Sequence[Run]) -> list[str]:
    """For each sweep and measure, which value is best, and by how much it leads the default seed by seed."""
    return [_best(runs, constant, measure) for constant in SWEEPS for measure in MEASURES]


def _best(runs: Sequence[Run], constant: str, measure: str) -> str:
    sweep = SWEEPS[constant]
    best = max(sweep, key=lambda value: mean(values(runs, sweep[value], measure)))
    told = f"{constant}, {MEASURES[measure]}: best with {best}"
    if sweep[best] == DEFAULT:
        return f"{told}, the default."
    pairs = zip(values(runs, sweep[best], measure), values(runs, DEFAULT, measure), strict=True)
    gaps = [ours - default for ours, default in pairs]
    ahead = sum(gap > 0 for gap in gaps)
    return f"{told}, {mean(gaps):+.4f} to the default, ahead with {ahead} of {len(gaps)} seeds."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--runs", type=Path, default=RUNS, help="finished runs; remove the file to begin anew")
    given = parser.parse_args()
    torch.set_num_threads(1)
    # First, so that no run's time is that of filling a cache.
    beside = {name: measured(partial(_baseline, name)) for name in ("entropy", "max_prob")}
    training_views()
    done = {(run.setting, run.seed) for run in finished(given.runs, Run)}
    for seed in range(given.seeds):
        for setting in settings():
            if (setting, seed) not in done:
                note(given.runs, run(setting, seed))
    runs = sorted((run for run in finished(given.runs, Run) if run.seed < given.seeds), key=lambda run: run.seed)
    about = {
        **upstream.described(),
        **upstream_head.described(),
        "held-out views": f"{len(judging_views()[1])} of {len(places().judge)} other upstream images",
        "photographs": f"{len(reported_rows().names)} of imagenet_nips17dev_shared.zip, as they are served",
        "R-AUROC": "; ".join(
            f"{name}, {len(far)} rows, R@1 {1 - far.double().mean():.4f}" for name, (_, far) in retrieval().items()
        ),
        "seeds": f"0..{given.seeds - 1}: initial weights, and which images where there are fewer",
        "took": f"{sum(run.seconds for run in runs):.0f} s, all runs together, without the cache",
    }
    command = "python -m tests.benchmarks.loss_rank.ablation"
    made = Report("ablation", "Ablations of the loss-rank head", command, about, [table(runs, beside)], words(runs))
    made.write(RESULTS)
    (RESULTS / "ablation.svg").write_text(panels([figure(runs, constant) for constant in SWEEPS]))
    print(made.markdown())


if __name__ == "__main__":
    main()
