"""What the constants of REGrad are worth: `python -m tests.benchmarks.epistemic.ablation`.

One constant at a time, the others as in the preset: decay of the layer weights, depth, and the perturbed copies of the
input: how many, how far away, and what is averaged. Mean AUROC over the sets outside CIFAR-10, and rank correlation
with the preset itself. Layer norms are computed once for each kind of input and weighted afterwards.
Then the fast form's depth and number of backward passes, on both networks. A quarter of an hour on one core.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from models.gradients.family import PRESETS, with_perturbed
from tests.benchmarks.epistemic.cifar10_network import DATA, trained_network
from tests.benchmarks.epistemic.exact import combined, layer_norms
from tests.benchmarks.epistemic.fast_form import fast_ablation, lite0_ablation, lite0_rows
from tests.benchmarks.epistemic.sets import SEED, Rows, cifar10_outside, strip_rows
from tests.benchmarks.epistemic.subject import Subject, cifar10_subject, lite0_subject
from tests.benchmarks.epistemic.sweep import Ablation, Sets, Sweep, figure, figure_of_order, table
from tests.benchmarks.epistemic.tables import RESULTS, Report

Drawn = tuple[Rows, list[Rows]]  # rows inside, and the sets outside

PRESET = PRESETS["regrad"]
DECAYS = (0.0, 1.0, 2.0, 5.0, 10.0)
SIGMAS = (0.005, 0.02, 0.05, 0.1)
COPIES = (0, 2, 5, 10)
SIGMA, COPIES_OF_SIGMA = 0.02, 5  # what the sweep of the other one takes


def layer_ablations(norms: Tensor) -> list[Ablation]:
    """Decay and depth, from norms (C, N, L) of the inputs alone: as many sweeps as one likes cost nothing more."""
    layers, default = norms.shape[2], combined(norms, PRESET)
    decays = {f"{decay:g}": combined(norms, replace(PRESET, decay=decay)) for decay in DECAYS}
    depths = sorted({min(depth, layers) for depth in (1, 2, 5, 10, 15, layers)})

    def by_depth(decay: float) -> Sweep:
        return {str(depth): combined(norms, replace(PRESET, decay=decay, depth=depth)) for depth in depths}

    cut = {f"lambda = {decay:g}": by_depth(decay) for decay in (PRESET.decay, 0.0)}
    return [
        Ablation("lambda", "lambda", "decay lambda of the layer weights", {"regrad": decays}, default),
        Ablation("depth", "layers", f"depth: the last layers alone, of {layers}", cut, default),
    ]


def perturbation_ablations(subject: Subject, images: Tensor) -> list[Ablation]:
    """How far, how many and what is averaged: gradients before the norm, or the scores of the copies."""
    plain = combined(layer_norms(subject.gradients, images, PRESET), PRESET)

    def averaged(sigma: float, copies: int) -> Tensor:
        if not copies:
            return plain
        family = replace(PRESET, perturbations=copies, sigma=sigma)
        rows = with_perturbed(images, family, SEED).flatten(0, 1)
        return combined(layer_norms(subject.gradients, rows, family, 1 + copies), family)

    sigmas = {f"{sigma:g}": averaged(sigma, COPIES_OF_SIGMA) for sigma in SIGMAS}
    counts = {str(copies): averaged(SIGMA, copies) for copies in COPIES}
    return [
        Ablation(
            "sigma",
            "sigma",
            f"sigma of the perturbations, N = {COPIES_OF_SIGMA}",
            {"gradients averaged": sigmas},
            plain,
        ),
        Ablation(
            "copies", "N", f"number N of perturbed copies, sigma = {SIGMA}", {"gradients averaged": counts}, plain
        ),
        Ablation(
            "reduce",
            "N",
            f"what is averaged over N copies, sigma = {SIGMA}",
            {"gradients": counts, "norms": _norms_averaged(subject, images, plain)},
            plain,
        ),
    ]


def _norms_averaged(subject: Subject, images: Tensor, plain: Tensor) -> dict[str, Tensor]:
    family = replace(PRESET, perturbations=max(COPIES), sigma=SIGMA)
    perturbed = with_perturbed(images, family, SEED)
    norms = layer_norms(subject.gradients, perturbed[:, 1:].flatten(0, 1), PRESET)
    scores = torch.cat([plain[:, None], combined(norms, PRESET).reshape(len(images), -1)], dim=1)
    return {str(copies): scores[:, : 1 + copies].mean(dim=1) for copies in COPIES}


def rows_of(inside: int, outside: int) -> tuple[Rows, list[Rows]]:
    return strip_rows(DATA / "cifar10_test_shared.npz", "in", inside)[0], cifar10_outside(DATA, outside)


def images_of(subject: Subject, inside: Rows, outside: Sequence[Rows]) -> Tensor:
    return subject.images(torch.cat([rows.pixels for rows in (inside, *outside)]))


def all_ablations(subject: Subject, many: Drawn, few: Drawn, large: Drawn) -> list[tuple[Ablation, Sets]]:
    images = images_of(subject, *many)
    norms = layer_norms(subject.gradients, images, PRESET)
    fast = fast_ablation(subject, images, "fast-cifar10", combined(norms, PRESET), "exact")
    cifar10 = [*layer_ablations(norms), fast]
    perturbed = perturbation_ablations(subject, images_of(subject, *few))
    lite0 = lite0_ablation(lite0_subject(DATA), [large[0], *large[1]])
    return [
        *((ablation, Sets.of(*many)) for ablation in cifar10),
        *((ablation, Sets.of(*few)) for ablation in perturbed),
        (lite0, Sets.of(*large)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs=2, default=[500, 250], help="in, and of each set out")
    parser.add_argument("--perturbed", type=int, nargs=2, default=[60, 20], help="the same for perturbed inputs")
    parser.add_argument("--large", type=int, nargs=2, default=[30, 30], help="the same on EfficientNet-Lite0")
    given = parser.parse_args()
    torch.set_num_threads(1)
    began = time.perf_counter()
    subject = cifar10_subject(trained_network())
    many, few, large = rows_of(*given.rows), rows_of(*given.perturbed), lite0_rows(*given.large)
    found = all_ablations(subject, many, few, large)
    about = {
        "network": f"{subject.name}, but for the last table",
        "lambda, depth and fast form": described(many),
        "sigma, N and what is averaged": described(few),
        "EfficientNet-Lite0": described(large),
        "preset": str(PRESET),
        "intervals": "middle 95 % of 200 draws of rows",
        "seed": str(SEED),
        "took": f"{time.perf_counter() - began:.0f} s",
    }
    tables = [table(ablation, sets) for ablation, sets in found]
    command = "python -m tests.benchmarks.epistemic.ablation"
    made = Report("ablation", "Ablations of REGrad", command, about, tables)
    made.write()
    for ablation, sets in found:
        drawn = figure_of_order(ablation) if ablation.name.startswith("fast") else figure(ablation, sets)
        (RESULTS / f"ablation-{ablation.name}.svg").write_text(drawn.svg())
    print(made.markdown())


def described(drawn: Drawn) -> str:
    return "; ".join(rows.describe() for rows in (drawn[0], *drawn[1]))


if __name__ == "__main__":
    main()
