"""One forward pass over labelled images: what calibrators are fitted on and judged by."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from models.backbones.prepared import PreparedNetwork
from models.core.image import read_image
from models.core.outputs import ModelOutputs
from models.data.image_archive import LabelledImage


@dataclass(frozen=True, slots=True)
class LabelledOutputs:
    """Outputs of N rows on the CPU and their labels (N,) int64."""

    outputs: ModelOutputs
    labels: Tensor


def collect(network: PreparedNetwork, rows: Iterable[LabelledImage], *, batch: int = 16) -> LabelledOutputs:
    """Decode exactly as the server does, then logits and features batch by batch."""
    logits: list[Tensor] = []
    features: list[Tensor] = []
    labels: list[int] = []
    for part in _batches(rows, batch):
        spec = network.input_spec
        outputs = network.outputs(np.stack([spec.pixels(read_image(row.content, spec)) for row in part]))
        logits.append(outputs.logits.cpu())
        features.append(outputs.require_features().cpu())
        labels.extend(row.label for row in part)
    return LabelledOutputs(ModelOutputs(torch.cat(logits), features=torch.cat(features)), torch.tensor(labels))


def _batches(rows: Iterable[LabelledImage], size: int) -> Iterator[list[LabelledImage]]:
    rest = iter(rows)
    while part := list(islice(rest, size)):
        yield part
