"""MaC-Cal beside plain calibrators on real features: `python -m tests.benchmarks.mac_cal.lite0_cifar100`.

An over-confident linear probe on EfficientNet-Lite0's features of CIFAR-100; the calibrators are cross-fitted on rows
that the probe was not trained on. Some ten minutes on one core once the features are cached, two more before.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import mean

import torch
from torch import Tensor

from models.calibration import CALIBRATORS
from models.calibration.mac_cal import MacCal
from models.calibration.masked_training import MacCalOptions
from models.core.outputs import ModelOutputs
from tests.benchmarks.epistemic.sets import SEED
from tests.benchmarks.epistemic.tables import Report, Table
from tests.benchmarks.loss_rank.runs import spread
from tests.benchmarks.loss_rank.upstream import described
from tests.benchmarks.mac_cal import RESULTS
from tests.benchmarks.mac_cal.cross_fit import FOLDS, HIGHER_IS_BETTER, MEASURES, Fit, Logits, cross_fitted
from tests.benchmarks.mac_cal.probe import ROWS, WEIGHT_DECAY, Probed, probed
from tests.benchmarks.mac_cal.settings import (
    DEFAULT,
    MASKED_INFERENCE,
    dimensions,
    settings,
    unguarded,
    with_masks,
)
from tests.benchmarks.mac_cal.ways import logits_of

PLAIN = ("temperature", "vector", "feature_clipping")
VANILLA, MAC_CAL = "vanilla", "MaC-Cal"

Measures = Mapping[str, float]


class MacCalFits:
    """A `Fit` of MaC-Cal, seeded by `seed` and the fold; its guard only counts what it would have `refused`."""

    def __init__(self, options: MacCalOptions, seed: int) -> None:
        self.options, self.seed = options, seed
        self.refused = 0
        self.methods: list[MacCal] = []

    def __call__(self, outputs: ModelOutputs, labels: Tensor, fold: int) -> Logits:
        options = replace(self.options, seed=100 * self.seed + fold)
        method = MacCal(dimensions(outputs)).fit(outputs, labels, options=options)
        self.refused += not method.record["guard"]["held"]
        self.methods.append(unguarded(method, method.state()))
        return logits_of(self.methods[-1])


def vanilla(outputs: ModelOutputs, labels: Tensor, fold: int) -> Logits:
    return lambda judged: judged.logits


def plain(name: str) -> Fit:
    return lambda outputs, labels, fold: logits_of(CALIBRATORS[name](dimensions(outputs)).fit(outputs, labels))


def compared(rows: Probed, seeds: int) -> tuple[dict[str, list[Measures]], int]:
    """Measures by method, one of each seed, and how many fits MaC-Cal's guard would have refused."""
    ways: dict[str, Fit] = {VANILLA: vanilla, **{name: plain(name) for name in PLAIN}}
    found: dict[str, list[Measures]] = {name: [] for name in (*ways, MAC_CAL)}
    refused = 0
    for seed in range(seeds):
        fits = MacCalFits(DEFAULT, seed)
        for name, way in {**ways, MAC_CAL: fits}.items():
            found[name].append(cross_fitted(rows, way, seed))
            print(seed, name, found[name][-1], flush=True)
        refused += fits.refused
    return found, refused


def ablated(rows: Probed) -> dict[str, Measures]:
    """Measures by setting, of one cross-fit each, all on the same folds and each fold with masks of its own."""
    found: dict[str, Measures] = {}
    for name, options in settings(rows.dimensions.features).items():
        fits = MacCalFits(options, 0)
        found[name] = cross_fitted(rows, fits, 0)
        print(name, found[name], flush=True)
    for q in MASKED_INFERENCE:  # the last setting is the one without masks in training
        masked = [with_masks(method, q, fold) for fold, method in enumerate(fits.methods)]
        found[f"masks at inference only, q {q:g}"] = cross_fitted(rows, _ready(masked), 0)
    return found


def _ready(methods: Sequence[MacCal]) -> Fit:
    return lambda outputs, labels, fold: logits_of(methods[fold])


def tables(found: Mapping[str, Sequence[Measures]], ablations: Mapping[str, Measures], seeds: int) -> list[Table]:
    headings = list(MEASURES.values())
    rows = {name: [spread([run[key] for run in runs]) for key in MEASURES] for name, runs in found.items()}
    single = {name: [measures[key] for key in MEASURES] for name, measures in ablations.items()}
    return [
        Table(f"Calibrators: mean ± standard deviation over {seeds} seeds", "method", headings, rows),
        Table("MaC-Cal, one thing varied at a time: one cross-fit each", "setting", headings, single),
    ]


def words(found: Mapping[str, Sequence[Measures]], refused: int, fits: int) -> list[str]:
    """Who is ahead, measure by measure, and how often temperature scaling beats MaC-Cal seed by seed."""
    return [
        *(_ahead(found, key) for key in MEASURES),
        f"MaC-Cal's guard would have kept the probe's own logits in {refused} of {fits} fits; the figures are without"
        " the guard.",
    ]


def _ahead(found: Mapping[str, Sequence[Measures]], key: str) -> str:
    sign = 1 if key in HIGHER_IS_BETTER else -1
    best = max(found, key=lambda name: sign * mean(run[key] for run in found[name]))
    pairs = zip(found["temperature"], found[MAC_CAL], strict=True)
    gains = [sign * (ours[key] - plain[key]) for plain, ours in pairs]
    won = sum(gain > 0 for gain in gains)
    verdict = "temperature scaling wins" if mean(gains) < 0 else "MaC-Cal wins"
    return (
        f"{MEASURES[key]}: best is {best}. Temperature scaling against MaC-Cal: {verdict}, by {abs(mean(gains)):.4f};"
        f" MaC-Cal is better with {won} of {len(gains)} seeds."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = probed()
    began = time.perf_counter()
    found, refused = compared(rows, given.seeds)
    ablations = ablated(rows)
    about = {
        "network": described()["network"],
        "probe (vanilla)": f"logistic regression on its features, {rows.trained_rows} of {ROWS} rows of"
        f" cifar100_test_shared.npz, weight decay {WEIGHT_DECAY:g}; {rows.trained_accuracy:.4f} of them right",
        "calibrators": f"the other {len(rows.labels)} rows, which the probe has not seen: fitted on four fifths,"
        " measured on the fifth, all fifths together. MaC-Cal trains on four fifths of the rows that it is fitted on,"
        " and takes the others to choose the epoch and for the gap",
        "AUROC": f"1 - max probability, {len(rows.outside)} rows of dtd_textures10_shared.zip above CIFAR-100's;"
        " mean over the fits",
        "MaC-Cal": repr(DEFAULT),
        "its constants": "chosen on scikit-learn's digits and on the rows of the probe, not measured here",
        "seeds": f"halves {SEED}; folds and masks 0..{given.seeds - 1}; ablations: folds of seed 0",
        "took": f"{time.perf_counter() - began:.0f} s, without probe and features",
    }
    command = "python -m tests.benchmarks.mac_cal.lite0_cifar100"
    tabled = tables(found, ablations, given.seeds)
    told = words(found, refused, FOLDS * given.seeds)
    made = Report("lite0_cifar100", "MaC-Cal on features of EfficientNet-Lite0", command, about, tabled, told)
    made.write(RESULTS)
    print(made.markdown())


if __name__ == "__main__":
    main()
