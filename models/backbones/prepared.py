"""A network ready to serve: folded, cast, in channels_last order, on its device.

The layers that a gradient plan takes gradients of are left as they are stored, so that the served network's own forward
pass is all that the epistemic score needs but for its backward passes.
"""

import copy
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.backbones import backbone_kind
from models.backbones.fold import fold_batch_norm
from models.core.device import PRECISIONS
from models.core.errors import CheckpointError, UnsupportedError
from models.core.gradient_plan import GradientPlan
from models.core.input_spec import InputSpec
from models.core.manifest import BackboneRecord
from models.core.method import Dimensions
from models.core.outputs import LinearHead, ModelOutputs
from models.gradients.attention import expose_attention
from models.gradients.exact import ExactGradients
from models.gradients.fast import FastGradients, check_unshared
from models.gradients.layers import find_layers

# Measured on the shipped network by `python -m tests.benchmarks.epistemic.ablation`.
DEPTH_SHARE = 0.16  # of the layers
DIRECTIONS = 1


@dataclass(frozen=True, slots=True)
class PreparedNetwork:
    """The trunk runs in the serving precision; the head stays float32, so that logits keep their digits.

    `gradients` gives the fast form of the epistemic score's gradients, where the version has a plan for them.
    """

    trunk: nn.Module
    head: nn.Linear
    input_spec: InputSpec
    device: torch.device
    precision: str
    gradients: FastGradients | None = None

    @property
    def dimensions(self) -> Dimensions:
        return Dimensions(classes=self.head.out_features, features=self.head.in_features)

    @property
    def linear_head(self) -> LinearHead:
        return LinearHead(self.head.weight.detach(), self.head.bias.detach())

    def outputs(self, pixels: NDArray[np.uint8], *, gradients: bool = False) -> ModelOutputs:
        """Logits, features and head, float32, for (N, height, width, 3) uint8 pixels.

        With `gradients` those of the fast form too; a network without them leaves them out.
        """
        images = self.input_spec.tensor(pixels, self.device, PRECISIONS[self.precision])
        if gradients and self.gradients is not None:
            features, found = self.gradients.outputs(images)
        else:
            features, found = self._features(images), None
        with torch.inference_mode():
            logits = self.head(features)
        return ModelOutputs(logits=logits, features=features, head=self.linear_head, gradients=found)

    @torch.inference_mode()
    def _features(self, images: Tensor) -> Tensor:
        features: Tensor = self.trunk(images)
        return features.float()


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
    plan: GradientPlan | None = None,
) -> PreparedNetwork:
    """Cut, fold, fix to the input size, cast and move a copy of `network`, which stays as it is.

    Raises UnsupportedError when the plan asks for gradients of a layer that they are not known of.
    """
    backbone = backbone_kind(kind).cut(copy.deepcopy(network).eval())
    example = example_images(input_spec)
    trunk, keep = backbone.trunk, set[str]()
    if plan is not None:
        trunk = expose_attention(trunk)
        keep = _kept(trunk, example, plan)
    trunk = backbone_kind(kind).for_size(fold_batch_norm(trunk, example, keep), example, keep)
    trunk = trunk.to(device=device, dtype=PRECISIONS[precision], memory_format=torch.channels_last)  # type: ignore[call-overload]
    trunk.requires_grad_(False)
    prepared = PreparedNetwork(
        trunk=_compile(trunk) if compiled else trunk,
        head=backbone.head.to(device=device, dtype=torch.float32),
        input_spec=input_spec,
        device=device,
        precision=precision,
    )
    return prepared if plan is None else _with_gradients(prepared, trunk, plan)


def example_images(input_spec: InputSpec, count: int = 1) -> Tensor:
    """(count, 3, height, width) float32: noise, for passes that only look at shapes or compare two networks."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, input_spec.height, input_spec.width, generator=generator)


def _kept(trunk: nn.Module, example: Tensor, plan: GradientPlan) -> set[str]:
    layers = find_layers(trunk, lambda: trunk(example))
    return {member.name for member in layers.last(plan.depth - 1)}


def _with_gradients(prepared: PreparedNetwork, trunk: nn.Module, plan: GradientPlan) -> PreparedNetwork:
    """`trunk` is the one that is not compiled: hooks on its layers do not stand in compiled code."""
    example = example_images(prepared.input_spec, 2).to(prepared.device, PRECISIONS[prepared.precision])
    layers = find_layers(trunk, lambda: trunk(example))
    return replace(prepared, gradients=FastGradients(trunk, layers, prepared.linear_head, plan, example))


def exact_gradients(
    network: nn.Module, kind: str, input_spec: InputSpec, device: torch.device, plan: GradientPlan
) -> ExactGradients:
    """The exact form of the gradients, on a copy of the network as it is stored, in float32."""
    backbone = backbone_kind(kind).cut(copy.deepcopy(network).eval())
    trunk = expose_attention(backbone.trunk)
    whole = nn.Sequential(OrderedDict(trunk=trunk, head=backbone.head)).to(device, torch.float32)
    whole = whole.to(memory_format=torch.channels_last).requires_grad_(False)
    return ExactGradients(whole, example_images(input_spec).to(device), plan)


def suggested_plan(network: nn.Module, kind: str, input_spec: InputSpec) -> GradientPlan | str:
    """A plan for the network, or why there can be none."""
    backbone = backbone_kind(kind).cut(copy.deepcopy(network).eval())
    example = example_images(input_spec)
    try:
        trunk = expose_attention(backbone.trunk)
        layers = find_layers(trunk, lambda: trunk(example))
        depth = max(2, round(DEPTH_SHARE * (len(layers) + 1)))
        check_unshared(layers, depth - 1)
    except UnsupportedError as error:
        return str(error)
    if not len(layers):
        return "the network has no layer with parameters before its last one"
    return GradientPlan(depth, DIRECTIONS)


def _compile(trunk: nn.Module) -> Any:
    return torch.compile(trunk, dynamic=True)
