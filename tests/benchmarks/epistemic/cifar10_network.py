"""Trains the CIFAR-10 network of the epistemic benchmarks: `python -m tests.benchmarks.epistemic.cifar10_network`.

A ResNet-20 (He et al. 2015, section 4.2) on the 50,000 training images: SGD with Nesterov momentum, one cycle, random
crops and flips, bfloat16. Seeded.
"""

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.benchmarks.epistemic.strips import normalised, read_strips

DATA = Path(os.environ.get("HOWSURE_TEST_DATA", "../shared/data"))
WEIGHTS = Path("build/epistemic/cifar10-resnet20.pt")
PRINT = partial(print, flush=True)


class Block(nn.Module):
    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, images: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(images)))))
        return functional.relu(inner + self.shortcut(images))


class ResNet20(nn.Module):
    """(N, 3, 32, 32) → logits (N, 10); `width` channels in the first stage."""

    def __init__(self, width: int = 16, blocks: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        layers: list[nn.Module] = []
        before = width
        for stage in range(3):
            for block in range(blocks):
                layers.append(Block(before, width * 2**stage, 2 if stage and not block else 1))
                before = width * 2**stage
        self.layers = nn.Sequential(*layers)
        self.fc = nn.Linear(before, classes)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.layers(functional.relu(self.bn1(self.conv1(images))))
        return self.fc(maps.mean(dim=(2, 3)))


def train(
    network: nn.Module,
    pixels: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    seed: int,
    batch: int = 128,
    rate: float = 0.2,
    tell: Callable[[str], None] = PRINT,
) -> None:
    """In place, on the device of the network's parameters; `tell` gets a line an epoch."""
    generator = torch.Generator().manual_seed(seed)
    steps = epochs * (len(labels) // batch)
    optimiser = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9, nesterov=True, weight_decay=5e-4)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.25)
    images = normalised(pixels)
    network.train().to(memory_format=torch.channels_last)
    for epoch in range(epochs):
        began = time.perf_counter()
        for rows in torch.randperm(len(labels), generator=generator).split(batch)[: len(labels) // batch]:
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(augmented(images[rows], generator))
            loss = functional.cross_entropy(logits.float(), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            cycle.step()
        tell(f"epoch {epoch + 1}: last loss {loss.item():.3f}, {time.perf_counter() - began:.0f} s")
    network.eval().requires_grad_(False)


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Flipped at random, and one shift a batch of up to 4 pixels in either direction for each half of it."""
    flipped = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
    images = torch.where(flipped, images.flip(3), images)
    parts = [_shifted(part, *torch.randint(0, 9, (2,), generator=generator).tolist()) for part in images.chunk(16)]
    return torch.cat(parts).contiguous(memory_format=torch.channels_last)


def _shifted(images: Tensor, down: int, right: int) -> Tensor:
    return functional.pad(images, (4, 4, 4, 4))[:, :, down : down + 32, right : right + 32]


@torch.no_grad()
def logits_of(network: nn.Module, pixels: Tensor) -> Tensor:
    return torch.cat([network(normalised(part)) for part in pixels.split(250)])


def trained_network() -> ResNet20:
    """The network with the weights that the command of this module has left. Raises FileNotFoundError."""
    if not WEIGHTS.exists():
        raise FileNotFoundError(f"{WEIGHTS} is not there: run python -m tests.benchmarks.epistemic.cifar10_network")
    network = ResNet20()
    network.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    return network.eval().requires_grad_(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    network = ResNet20()
    train(network, *read_strips(DATA / "cifar10_train.npz"), epochs=given.epochs, seed=given.seed)
    pixels, labels = read_strips(DATA / "cifar10_test_shared.npz")
    accuracy = (logits_of(network, pixels).argmax(dim=1) == labels).float().mean().item()
    print(f"test accuracy {accuracy:.4f} on {len(labels)} images of {DATA / 'cifar10_test_shared.npz'}")
    WEIGHTS.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), WEIGHTS)


if __name__ == "__main__":
    main()
