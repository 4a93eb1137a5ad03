"""Out-of-distribution detection by every preset, beside pytorch-ood: `python -m tests.benchmarks.epistemic.quality`.

A ResNet-20 on CIFAR-10, all presets exact; EfficientNet-Lite0 with 1,000 classes, where one class a backward pass is
too slow: REGrad is the fast form, the other scores over every class are the last layer's in closed form. A quarter of
an hour on one core.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from models.checkpoints.efficientnet_lite0 import INPUT_SPEC
from models.gradients.family import PRESETS, Classes, family_score
from tests.benchmarks.epistemic.baselines import Baselines
from tests.benchmarks.epistemic.cifar10_network import DATA, trained_network
from tests.benchmarks.epistemic.comparison import Comparison, Scores
from tests.benchmarks.epistemic.exact import class_norms, class_weights, combined, last_layer_score
from tests.benchmarks.epistemic.fast_form import fast_scores, planned
from tests.benchmarks.epistemic.sets import SEED, Rows, archive_rows, cifar10_outside, noise_rows, strip_rows
from tests.benchmarks.epistemic.subject import Subject, cifar10_subject, lite0_subject
from tests.benchmarks.epistemic.tables import Report

LAST = ", last layer"
FAST = "regrad, fast"


def exact_scores(subject: Subject, pixels: Tensor, features: Tensor, logits: Tensor) -> dict[str, Tensor]:
    """Every preset exactly, and the default as the fast form and on the last layer alone."""
    images, probabilities = subject.images(pixels), logits.softmax(dim=1)
    norms = {q: class_norms(subject.gradients, images, q) for q in (1, 2)}
    found = {}
    for name, family in PRESETS.items():
        if family.classes is Classes.UNIFORM:
            found[name] = last_layer_score(logits, features, family)
        else:
            found[name] = combined(norms[family.q], family, class_weights(probabilities, family))
    found[FAST] = fast_scores(subject, images, planned(len(subject.gradients.layers)))
    return found | {f"regrad{LAST}": last_layer_score(logits, features, replace(PRESETS["regrad"], depth=1))}


def many_class_scores(subject: Subject, pixels: Tensor, features: Tensor, logits: Tensor) -> dict[str, Tensor]:
    """Presets of one backward pass exactly; those over every class on the last layer, REGrad as the fast form too."""
    images = subject.images(pixels)
    found = {FAST: fast_scores(subject, images, planned(len(subject.gradients.layers)))}
    for name, family in PRESETS.items():
        if family.classes is Classes.EVERY:
            found[name + LAST] = last_layer_score(logits, features, replace(family, depth=1))
        elif family.classes is Classes.UNIFORM:
            found[name] = last_layer_score(logits, features, family)
        else:
            found[name] = family_score(subject.gradients, images, family).double()
    return found


def compared(subject: Subject, inside: Rows, outside: Sequence[Rows], baselines: Baselines) -> Comparison:
    few = subject.backbone.head.out_features <= 10

    def scores(rows: Rows) -> Scores:
        features = subject.features(rows.pixels)
        logits = subject.logits(features)
        own = (exact_scores if few else many_class_scores)(subject, rows.pixels, features, logits)
        return own | baselines.scores(rows.pixels, features, logits)

    return Comparison(subject.name, scores(inside), {rows.name: scores(rows) for rows in outside})


def cifar10(most: int, fitting: int) -> tuple[Comparison, list[Rows]]:
    subject = cifar10_subject(trained_network())
    train = strip_rows(DATA / "cifar10_train.npz", "fitted on (KNN, ViM)", fitting)[0]
    inside = strip_rows(DATA / "cifar10_test_shared.npz", "in", most)[0]
    outside = cifar10_outside(DATA, most)
    width = subject.backbone.head.in_features
    baselines = Baselines(subject, subject.features(train.pixels), neighbours=50, principal=width // 2)
    return compared(subject, inside, outside, baselines), [train, inside, *outside]


def lite0(most: int) -> tuple[Comparison, list[Rows]]:
    """300 rows to fit on have no use for 50 neighbours, nor for more principal dimensions than 300."""
    subject = lite0_subject(DATA)
    inside, train = archive_rows(
        DATA / "imagenet_nips17dev_shared.zip", "in", INPUT_SPEC, most, 500 - most, label="label"
    )
    train = replace(train, name="fitted on (KNN, ViM)")
    textures = archive_rows(DATA / "dtd_textures10_shared.zip", "textures", INPUT_SPEC)[0]
    outside = [textures, noise_rows(most, INPUT_SPEC.height)]
    baselines = Baselines(subject, subject.features(train.pixels), neighbours=10, principal=128)
    return compared(subject, inside, outside, baselines), [train, inside, *outside]


def report(found: Sequence[tuple[Comparison, list[Rows]]], seconds: float) -> Report:
    about = {comparison.subject: "; ".join(part.describe() for part in rows) for comparison, rows in found}
    about |= {
        "seed": str(SEED),
        "forms": "presets are exact over all layers, `gradnorm` over the last one, which is its definition; `fast` is"
        " the fast form in float32 with the plan that a version gets by default; `last layer` is the closed form",
        "pytorch-ood": "max probability, entropy, energy, ODIN, KNN, ViM, GradNorm; KNN with 50 neighbours on CIFAR-10"
        " and 10 on ImageNet-1k, ViM with a principal space of 32 and 128 dimensions; all else its defaults",
        "took": f"{seconds:.0f} s",
    }
    words = ["Where REGrad loses. In brackets the middle 95 % of 200 paired draws of rows; only leads above 0 count."]
    for comparison, _ in found:
        method = next(name for name in comparison.inside if name.startswith("regrad"))
        words += comparison.losses(method)
    tables = [table for comparison, _ in found for table in comparison.tables()]
    command = "python -m tests.benchmarks.epistemic.quality"
    return Report("quality", "Out-of-distribution detection", command, about, tables, words)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=750, help="of every CIFAR-10 set; 200 of ImageNet's are fixed")
    given = parser.parse_args()
    torch.set_num_threads(1)
    began = time.perf_counter()
    found = [cifar10(given.rows, fitting=5000), lite0(200)]
    made = report(found, time.perf_counter() - began)
    made.write()
    print(made.markdown())


if __name__ == "__main__":
    main()
