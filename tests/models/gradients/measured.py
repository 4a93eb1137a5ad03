"""Norms of the class gradients of a test subject, by the library and by its oracle."""

import torch
from torch import Tensor

from models.gradients.class_gradients import L1, SQUARED_L2, ClassGradients
from models.gradients.layer_kind import Batch
from models.gradients.layers import Layers, find_layers
from tests.models.gradients.architectures import Subject
from tests.oracles.gradients import class_norms


def every_class(logits: Tensor) -> list[Tensor]:
    """Pulled back, these are the gradients of log p_c."""
    targets = torch.eye(logits.shape[1], dtype=logits.dtype)
    return [target - logits.softmax(dim=1) for target in targets]


def prepared(subject: Subject, depth: int | None = None) -> ClassGradients:
    layers = find_layers(subject.network, lambda: subject.forward(subject.inputs[:2]))
    return ClassGradients(subject.network, layers, subject.forward, depth)


def found(subject: Subject, copies: int = 1) -> tuple[Tensor, Tensor]:
    """Squared L2 and L1 norms."""
    gradients = prepared(subject)
    batch = Batch(len(subject.inputs) // copies, copies)
    return tuple(gradients.norms(subject.inputs, batch, every_class, norm)[1] for norm in (SQUARED_L2, L1))


def expected(subject: Subject, layers: Layers, copies: int = 1) -> tuple[Tensor, Tensor]:
    forward = subject.reference or subject.forward
    return class_norms(subject.network, forward, subject.inputs, layer_of(layers), copies=copies)


def layer_of(layers: Layers) -> dict[int, int]:
    members = ((member.layer, own) for member in layers.members for own in member.module.parameters(recurse=False))
    return {id(parameter): layer for layer, parameter in members} | dict(layers.shared)
