"""The fast form of REGrad by its depth and number of backward passes, against the exact form.

EfficientNet-Lite0 has 1,000 classes, and one backward pass each is too slow here: its reference is the fast form at
full depth with as many directions as it knows, which are all those of the 32 most probable classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.backbones.prepared import DEPTH_SHARE, DIRECTIONS
from models.checkpoints.efficientnet_lite0 import INPUT_SPEC
from models.core.gradient_plan import GradientPlan
from models.core.outputs import LinearHead
from models.gradients.family import PRESETS, layer_weights
from models.gradients.fast import SEEN_CLASSES, FastGradients
from models.gradients.layers import find_layers
from tests.benchmarks.epistemic.cifar10_network import DATA
from tests.benchmarks.epistemic.sets import Rows, archive_rows
from tests.benchmarks.epistemic.subject import Subject
from tests.benchmarks.epistemic.sweep import Ablation

SHARES = (0.1, DEPTH_SHARE, 0.3, 0.6, 1.0)
PASSES = (1, 2, 4)
ROWS_AT_A_TIME = 10


def planned(layers: int) -> GradientPlan:
    """What a version of a network with so many layers gets unless it asks for another plan."""
    return GradientPlan(depth=max(2, round(DEPTH_SHARE * layers)), directions=DIRECTIONS)


def fast_scores(subject: Subject, images: Tensor, plan: GradientPlan) -> Tensor:
    """(N,): REGrad with the preset's layer weights, over the last layers alone."""
    trunk, head = subject.backbone.trunk, subject.backbone.head
    example = images[:2]
    layers = find_layers(trunk, lambda: trunk(example))
    fast = FastGradients(trunk, layers, LinearHead(head.weight, head.bias), plan, example)
    found = [fast.outputs(part)[1] for part in images.split(ROWS_AT_A_TIME)]
    energies = torch.cat([part.energies for part in found]).double()
    return energies @ layer_weights(PRESETS["regrad"].decay, found[0].layers)[-energies.shape[1] :]


def fast_ablation(subject: Subject, images: Tensor, name: str, reference: Tensor, beside: str) -> Ablation:
    layers = len(subject.gradients.layers)
    depths = sorted({max(2, round(share * layers)) for share in SHARES})
    series = {
        f"{passes} backward": {
            str(depth): fast_scores(subject, images, GradientPlan(depth, passes)) for depth in depths
        }
        for passes in PASSES
    }
    title = f"depth of the fast form, {subject.name}, {layers} layers"
    return Ablation(name, "layers", title, series, reference, beside)


def lite0_rows(inside: int, outside: int) -> tuple[Rows, list[Rows]]:
    nips = archive_rows(DATA / "imagenet_nips17dev_shared.zip", "in", INPUT_SPEC, inside, label="label")
    return nips[0], archive_rows(DATA / "dtd_textures10_shared.zip", "textures", INPUT_SPEC, outside)


def lite0_ablation(subject: Subject, rows: Sequence[Rows]) -> Ablation:
    images = subject.images(torch.cat([part.pixels for part in rows]))
    reference = fast_scores(subject, images, GradientPlan(len(subject.gradients.layers), SEEN_CLASSES))
    beside = f"full depth, {SEEN_CLASSES} backward"
    return fast_ablation(subject, images, "fast-lite0", reference, beside)
