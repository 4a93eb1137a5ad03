"""Forward passes over labelled images: what calibrators are fitted on and judged by."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from models.backbones.prepared import PreparedNetwork
from models.core.image import read_image
from models.core.outputs import LayerGradients, ModelOutputs
from models.data.image_archive import LabelledImage

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class LabelledOutputs:
    """Outputs of N rows on the CPU and their labels (N,) int64."""

    outputs: ModelOutputs
    labels: Tensor


def collect(network: PreparedNetwork, rows: Iterable[LabelledImage], *, batch: int = 16) -> LabelledOutputs:
    """Decode exactly as the server does, then outputs, with gradients if the network gives them. Raises ImageError."""
    found: list[ModelOutputs] = []
    labels: list[int] = []
    for part in _batches(rows, batch):
        found.append(_outputs(network, part))
        labels.extend(row.label for row in part)
    return LabelledOutputs(_joined(found), torch.tensor(labels))


def _outputs(network: PreparedNetwork, rows: Sequence[LabelledImage]) -> ModelOutputs:
    spec = network.input_spec
    outputs = network.outputs(np.stack([spec.pixels(read_image(row.content, spec)) for row in rows]), gradients=True)
    gradients = outputs.gradients and LayerGradients(outputs.gradients.energies.cpu(), outputs.gradients.layers)
    return ModelOutputs(outputs.logits.cpu(), features=outputs.require_features().cpu(), gradients=gradients)


def _joined(parts: Sequence[ModelOutputs]) -> ModelOutputs:
    logits = torch.cat([part.logits for part in parts])
    features = torch.cat([part.require_features() for part in parts])
    found = [part.gradients for part in parts if part.gradients is not None]
    if not found:
        return ModelOutputs(logits, features=features)
    energies = torch.cat([gradients.energies for gradients in found])
    return ModelOutputs(logits, features=features, gradients=LayerGradients(energies, found[0].layers))


def _batches(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    rest = iter(rows)
    while part := list(islice(rest, size)):
        yield part
