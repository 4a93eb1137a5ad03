"""The network of the shipped checkpoint `cifar10-resnet` on its own training images, held-out ones and test images."""

from functools import cache
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import nn

from models.backbones import backbone_kind
from models.checkpoints import cifar10_resnet_weights as training
from models.core.checkpoint import file_sha256
from models.data.image_archive import ImageArchive
from models.training.classifier.rows import PixelRows
from tests.benchmarks.epistemic.cifar10_network import DATA
from tests.benchmarks.epistemic.strips import read_strips
from tests.benchmarks.experiments.cifar10_sets import SPEC
from tests.benchmarks.mac_cal.kept import kept
from tests.benchmarks.mac_cal.observed import Observed, observed

OUTPUTS = Path("build/mac_cal/outputs")
FITTED_ON = 4000  # of the 5,000 training images that the network was not trained on, drawn by a seed


@cache
def shipped_network() -> Observed:
    """A minute on one core the first time."""
    return kept(OUTPUTS / f"cifar10-resnet-{file_sha256(training.WEIGHTS)[:16]}.safetensors", _observed)


def network() -> nn.Module:
    """As shipped, in eval mode."""
    found = backbone_kind(training.KIND).build(training.NAME, training.ARGUMENTS)
    found.load_state_dict(safetensors.torch.load_file(training.WEIGHTS))
    return found.eval().requires_grad_(False)


def fitted_on(given: Observed, seed: int) -> Observed:
    """With part of the fresh rows, so that seeds differ in what is fitted on as well."""
    order = torch.randperm(len(given.fresh.labels), generator=torch.Generator().manual_seed(seed))
    return Observed(given.trained, given.fresh.take(order[:FITTED_ON]), given.judged, given.outside)


def _observed() -> Observed:
    images = ImageArchive(DATA / "cifar10_train.npz")
    place = {name: number for number, name in enumerate(images.names)}
    fresh, trained = (_rows([place[name] for name in names]) for names in training.parts(images))
    return observed(network(), trained, fresh)


def _rows(places: list[int]) -> PixelRows:
    pixels, labels = read_strips(DATA / "cifar10_train.npz")
    chosen = torch.tensor(places)
    return PixelRows(np.ascontiguousarray(pixels[chosen].permute(0, 2, 3, 1).numpy()), labels[chosen], SPEC)
