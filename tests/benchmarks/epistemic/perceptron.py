"""The multilayer perceptron of arXiv 2412.17411 for CIFAR-10, of random weights, which change no cost."""

import torch
from torch import Tensor, nn

WIDTH, DEPTH = 256, 4  # linear layers, the last one among them
PIXELS = 3 * 32 * 32


class Perceptron(nn.Module):
    """(N, 3, 32, 32) → logits (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [PIXELS, *[WIDTH] * (DEPTH - 1)]
        blocks = [
            nn.Sequential(nn.Linear(before, WIDTH), nn.ReLU(), nn.BatchNorm1d(WIDTH)) for before in sizes[: DEPTH - 1]
        ]
        self.layers = nn.Sequential(nn.Flatten(), *blocks)
        self.fc = nn.Linear(WIDTH, 10)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.layers(images))
        return logits


def random_perceptron(seed: int) -> Perceptron:
    torch.manual_seed(seed)
    return Perceptron().eval()
