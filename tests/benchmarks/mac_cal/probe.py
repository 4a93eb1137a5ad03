"""An over-confident linear probe on CIFAR-100 as EfficientNet-Lite0 sees it, and the rows that calibrators may have."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from models.checkpoints.upstream import archive_images
from models.core.method import Dimensions
from models.core.outputs import LinearHead, ModelOutputs
from models.feature_cache.image_rows import ImageRows
from models.feature_cache.outputs import CachedOutputs
from models.metrics.proper import accuracy
from tests.benchmarks.epistemic.cifar10_network import DATA
from tests.benchmarks.epistemic.sets import SEED
from tests.benchmarks.loss_rank.image_rows import strip_images
from tests.benchmarks.loss_rank.upstream import filled
from tests.benchmarks.mac_cal import CACHE

ROWS, CLASSES = 5000, 100
WEIGHT_DECAY, STEPS = 1e-6, 300


@dataclass(frozen=True, slots=True)
class Probed:
    """The probe's outputs on CIFAR-100 rows that it was not trained on, and on textures."""

    inside: ModelOutputs
    labels: Tensor
    outside: ModelOutputs
    trained_rows: int
    trained_accuracy: float

    @property
    def dimensions(self) -> Dimensions:
        return Dimensions(CLASSES, self.inside.require_features().shape[1])


def probed() -> Probed:
    """The probe is trained on one half of the rows and gives outputs for the other."""
    features, labels = _features(strip_images(DATA / "cifar100_test_shared.npz", ROWS))
    textures, _ = _features(archive_images(DATA / "dtd_textures10_shared.zip"))
    mine, theirs = torch.randperm(ROWS, generator=torch.Generator().manual_seed(SEED)).tensor_split(2)
    head = trained_head(features[mine], labels[mine], CLASSES)
    inside, outside = (
        ModelOutputs(head.logits(each), features=each, head=head) for each in (features[theirs], textures)
    )
    return Probed(inside, labels[theirs], outside, len(mine), accuracy(head.logits(features[mine]), labels[mine]))


def trained_head(features: Tensor, labels: Tensor, classes: int) -> LinearHead:
    """Logistic regression until it has converged, with hardly any weight decay: it learns its rows by heart."""
    weight = torch.zeros(classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=STEPS, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = cross_entropy(features @ weight.T + bias, labels) + WEIGHT_DECAY * weight.square().sum() / 2
        loss.backward()
        return loss

    optimiser.step(closure)
    return LinearHead(weight.detach(), bias.detach())


def _features(rows: ImageRows) -> tuple[Tensor, Tensor]:
    outputs, labels = CachedOutputs(filled(rows, None, CACHE)).take(range(len(rows.names)))
    return outputs.require_features(), labels
