"""The images that networks of the experiments are trained on and measured on, as CIFAR-10 networks take them."""

from collections.abc import Mapping
from functools import cache

import numpy as np
import torch
from torch import Tensor

from models.core.input_spec import InputSpec
from models.data.splits import split
from models.training.classifier.rows import PixelRows
from tests.benchmarks.epistemic.cifar10_network import DATA
from tests.benchmarks.epistemic.sets import SEED, SMALL, Rows, archive_rows, strip_rows
from tests.benchmarks.epistemic.strips import MEAN, STD, read_strips

SPEC = InputSpec(32, 32, 32, "bilinear", MEAN, STD)
UNSEEN = 1000  # of the training file, never trained on: what a network is watched on while it is trained
OUTSIDE = {
    "SVHN, 50 digits": "svhn_first100_shared.zip",
    "MNIST": "mnist_test_shared.npz",
    "textures": "dtd_textures10_shared.zip",
    "CIFAR-100": "cifar100_test_shared.npz",
}


@cache
def unseen_rows() -> PixelRows:
    return _training_rows(*_unseen_places())


def subset(images: int, seed: int) -> PixelRows:
    """So many training images drawn at random by `seed`, classes as they come; a larger subset holds the smaller."""
    left = set(range(len(_training_file()[1]))) - set(_unseen_places())
    (names,) = split(map(str, left), SEED + 1 + seed, images)
    return _training_rows(*map(int, names))


@cache
def test_rows() -> PixelRows:
    return _rows(strip_rows(DATA / "cifar10_test_shared.npz", "CIFAR-10", 5000)[0])


def fitted_half() -> Tensor:
    """(5000,) bool: the test rows that a temperature is fitted on; it is judged on the others."""
    drawn = torch.randperm(5000, generator=torch.Generator().manual_seed(SEED))
    return drawn < 2500


@cache
def outside_rows() -> Mapping[str, PixelRows]:
    """Images of no CIFAR-10 class, by the names of OUTSIDE."""
    found = {}
    for name, file in OUTSIDE.items():
        rows = archive_rows(DATA / file, name, SMALL)[0] if file.endswith(".zip") else _all_strips(name, file)
        found[name] = _rows(rows)
    return found


def _all_strips(name: str, file: str) -> Rows:
    pixels, labels = read_strips(DATA / file)
    return Rows(name, file, pixels, labels)


@cache
def _training_file() -> tuple[Tensor, Tensor]:
    return read_strips(DATA / "cifar10_train.npz")


@cache
def _unseen_places() -> tuple[int, ...]:
    (names,) = split(map(str, range(len(_training_file()[1]))), SEED, UNSEEN)
    return tuple(map(int, names))


def _training_rows(*places: int) -> PixelRows:
    pixels, labels = _training_file()
    chosen = torch.tensor(places)
    return _rows(Rows("", "", pixels[chosen], labels[chosen]))


def _rows(rows: Rows) -> PixelRows:
    return PixelRows(np.ascontiguousarray(rows.pixels.permute(0, 2, 3, 1).numpy()), rows.labels, SPEC)
