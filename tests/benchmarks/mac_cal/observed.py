"""A network's outputs on images that it was trained on, on others like them, and on images of other sets."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.backbones.prepared import PreparedNetwork, prepare
from models.core.outputs import ModelOutputs
from models.training.classifier.rows import PixelRows
from tests.benchmarks.experiments.cifar10_sets import SPEC, outside_rows, test_rows

PRECISION = "bfloat16"
ROWS_AT_ONCE = 250


@dataclass(frozen=True, slots=True)
class Labelled:
    """`labels` (N,) int64 of the rows of `outputs`."""

    outputs: ModelOutputs
    labels: Tensor

    def take(self, rows: Tensor) -> "Labelled":
        return Labelled(self.outputs.take(rows), self.labels[rows])


@dataclass(frozen=True, slots=True)
class Observed:
    """`trained`: rows that the network was trained on. `fresh`: others, to fit on. `judged`: test rows."""

    trained: Labelled
    fresh: Labelled
    judged: Labelled
    outside: Mapping[str, ModelOutputs]  # by the names of OUTSIDE


def observed(network: nn.Module, trained: PixelRows, fresh: PixelRows, precision: str = PRECISION) -> Observed:
    """Of a network of our own for CIFAR-10, as it is served."""
    served = served_network(network, precision)
    return Observed(
        trained=outputs_of(served, trained),
        fresh=outputs_of(served, fresh),
        judged=outputs_of(served, test_rows()),
        outside={name: outputs_of(served, rows).outputs for name, rows in outside_rows().items()},
    )


def served_network(network: nn.Module, precision: str = PRECISION) -> PreparedNetwork:
    return prepare(network, "howsure", SPEC, torch.device("cpu"), precision)


def outputs_of(served: PreparedNetwork, rows: PixelRows) -> Labelled:
    """As they are: nothing is augmented."""
    parts = [served.outputs(rows.pixels[first : first + ROWS_AT_ONCE]) for first in range(0, len(rows), ROWS_AT_ONCE)]
    logits = torch.cat([part.logits for part in parts])
    features = torch.cat([part.require_features() for part in parts])
    return Labelled(ModelOutputs(logits, features=features, head=served.linear_head), rows.labels)
