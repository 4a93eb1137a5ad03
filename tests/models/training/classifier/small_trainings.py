"""Trainings of seconds: small networks, and images whose class is the colour that prevails."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from models.core.input_spec import InputSpec
from models.training.classifier.initial import initial_network
from models.training.classifier.plan import TrainPlan
from models.training.classifier.rows import PixelRows
from models.training.classifier.training import train_classifier

CPU = torch.device("cpu")
SPEC = InputSpec(8, 8, 8, "bilinear", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
PLAN = TrainPlan(epochs=3, batch=16, rate=0.05, precision="float32", seed=5)


def coloured(count, seed=0):
    """Images of three classes, noisy enough that they are not learnt at once."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    pixels = rng.integers(0, 200, (count, 8, 8, 3))
    pixels[np.arange(count), :, :, labels] += 40
    return PixelRows(pixels.astype(np.uint8), torch.from_numpy(labels), SPEC)


ROWS, HELD_OUT = coloured(60), coloured(30, seed=1)


class WithDropout(nn.Module):
    """Everything whose state a training has to keep: convolution, batch norm, dropout."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.dropout = nn.Dropout(0.3)
        self.fc = nn.Linear(6, 3)

    def forward(self, images):
        return self.fc(self.dropout(self.norm(self.conv(images)).relu().mean(dim=(2, 3))))


def with_dropout():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return WithDropout()


def perceptron(depth=3):
    return initial_network("howsure", "perceptron", {"num_classes": 3, "depth": depth, "width": 12, "side": 8}, "he", 3)


class Killed(Exception):
    """Stands for the end of the process."""


@dataclass
class Heard:
    """What `told` was called with; it ends the run after step `limit` of `phase`."""

    phase: str = "data"
    limit: int | None = None
    calls: list = field(default_factory=list)

    def __call__(self, phase, step, steps, point):
        self.calls.append((phase, step, steps, point))
        if (phase, step) == (self.phase, self.limit):
            raise Killed


def train(network=None, plan=PLAN, rows=ROWS, held_out=HELD_OUT, folder=None, told=None):
    network = with_dropout() if network is None else network
    return train_classifier(network, "fc", rows, held_out, plan, CPU, folder, told or Heard())


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())
