"""Seeded rows of the data folder, in and out of distribution, as pixels that a network's own normalisation reads."""

import csv
import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.core.image import read_image
from models.core.input_spec import InputSpec
from models.data.splits import split
from tests.benchmarks.epistemic.strips import read_strips

SEED = 20261122
SMALL = InputSpec(
    height=32, width=32, resize=32, interpolation="bicubic", mean=(0, 0, 0), std=(1, 1, 1), draft=False
)  # normalisation is left to the network


@dataclass(frozen=True, slots=True)
class Rows:
    """`pixels` (N, 3, H, W) uint8; `labels` (N,) int64, -1 where the network has no such class."""

    name: str
    source: str
    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def describe(self) -> str:
        return f"{self.name}: {len(self)} rows of {self.source}"


def strip_rows(path: Path, name: str, *sizes: int, seed: int = SEED) -> list[Rows]:
    """Disjoint seeded parts of a 32-pixel set."""
    pixels, labels = read_strips(path)
    found = []
    for chosen in split(map(str, range(len(labels))), seed, *sizes):
        rows = torch.tensor([int(row) for row in chosen])
        found.append(Rows(name, path.name, pixels[rows], labels[rows]))
    return found


def archive_rows(
    path: Path,
    name: str,
    spec: InputSpec,
    *sizes: int,
    seed: int = SEED,
    label: str | None = None,
    keep: Callable[[dict[str, str]], bool] = lambda row: True,
) -> list[Rows]:
    """Disjoint seeded parts of the images of a zip file with `index.csv`; all that `keep` admits without sizes."""
    with zipfile.ZipFile(path) as archive:
        listed = csv.DictReader(io.TextIOWrapper(archive.open("index.csv"), encoding="utf-8"))
        index = {row["file"]: row for row in listed if keep(row)}
        found = []
        for part in split(index, seed, *(sizes or (len(index),))):
            labels = torch.tensor([int(index[file][label]) if label else -1 for file in part])
            found.append(Rows(name, path.name, _decoded(archive, part, spec), labels))
    return found


def noise_rows(count: int, side: int, seed: int = SEED) -> Rows:
    """Pixels drawn from N(128, 64²), rounded and clipped to 0..255."""
    drawn = torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))
    pixels = (128 + 64 * drawn).round().clamp(0, 255).to(torch.uint8)
    return Rows("Gaussian noise", "N(128, 64²) clipped to 0..255", pixels, torch.full((count,), -1))


def cifar10_outside(data: Path, most: int) -> list[Rows]:
    """What a CIFAR-10 network has not seen, at most so many rows of each set; nearest to it first."""
    textures = archive_rows(data / "dtd_textures10_shared.zip", "textures", SMALL)[0]
    return [
        strip_rows(data / "cifar100_test_shared.npz", "CIFAR-100", most)[0],
        archive_rows(
            data / "tinyimagenet_val_shared.zip",
            "Tiny-ImageNet",
            SMALL,
            most,
            keep=lambda row: row["cifar10_overlap"] == "0",
        )[0],
        Rows(textures.name, textures.source, textures.pixels[:most], textures.labels[:most]),
        strip_rows(data / "mnist_test_shared.npz", "MNIST", most)[0],
        noise_rows(most, 32),
    ]


def _decoded(archive: zipfile.ZipFile, files: Sequence[str], spec: InputSpec) -> Tensor:
    pixels = [spec.pixels(read_image(archive.read(f"images/{file}"), spec)) for file in files]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
