"""A network ready to serve: folded, cast, in channels_last order, on its device."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.backbones import backbone_kind
from models.backbones.fold import fold_batch_norm
from models.core.device import PRECISIONS
from models.core.errors import CheckpointError
from models.core.input_spec import InputSpec
from models.core.manifest import BackboneRecord
from models.core.method import Dimensions
from models.core.outputs import LinearHead, ModelOutputs


@dataclass(frozen=True, slots=True)
class PreparedNetwork:
    """The trunk runs in the serving precision; the head stays float32, so that logits keep their digits."""

    trunk: nn.Module
    head: nn.Linear
    input_spec: InputSpec
    device: torch.device
    precision: str

    @property
    def dimensions(self) -> Dimensions:
        return Dimensions(classes=self.head.out_features, features=self.head.in_features)

    @property
    def linear_head(self) -> LinearHead:
        return LinearHead(self.head.weight.detach(), self.head.bias.detach())

    @torch.inference_mode()
    def outputs(self, pixels: NDArray[np.uint8]) -> ModelOutputs:
        """Logits, features and head, float32, for (N, height, width, 3) uint8 pixels."""
        images = self.input_spec.tensor(pixels, self.device, PRECISIONS[self.precision])
        features: Tensor = self.trunk(images).float()
        return ModelOutputs(logits=self.head(features), features=features, head=self.linear_head)


def build_network(record: BackboneRecord, weights: Mapping[str, Tensor]) -> nn.Module:
    """The stored network in float32 on the CPU. Raises CheckpointError unless names and shapes match exactly."""
    network = backbone_kind(record.kind).build(record.name, record.arguments)
    try:
        network.load_state_dict(dict(weights), strict=True)
    except RuntimeError as error:
        raise CheckpointError(f"weights {record.sha256} do not fit {record.kind} {record.name}: {error}") from error
    return network.eval().requires_grad_(False)


def prepare(
    network: nn.Module,
    kind: str,
    input_spec: InputSpec,
    device: torch.device,
    precision: str,
    *,
    compiled: bool = False,
) -> PreparedNetwork:
    """Cut, fold, fix to the input size, cast and move a copy of `network`, which stays as it is."""
    backbone = backbone_kind(kind).cut(copy.deepcopy(network).eval())
    example = torch.randn(1, 3, input_spec.height, input_spec.width, generator=torch.Generator().manual_seed(0))
    trunk = backbone_kind(kind).for_size(fold_batch_norm(backbone.trunk, example), example)
    trunk = trunk.to(device=device, dtype=PRECISIONS[precision], memory_format=torch.channels_last)  # type: ignore[call-overload]
    return PreparedNetwork(
        trunk=_compile(trunk) if compiled else trunk,
        head=backbone.head.to(device=device, dtype=torch.float32),
        input_spec=input_spec,
        device=device,
        precision=precision,
    )


def _compile(trunk: nn.Module) -> Any:
    return torch.compile(trunk, dynamic=True)
