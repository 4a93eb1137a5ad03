"""What a network gives for a batch, in the one form that every calibrator and score reads."""

from dataclasses import dataclass, replace
from enum import Flag, auto

import torch
from torch import Tensor

from models.core.errors import MissingOutputError


class Needs(Flag):
    """What a method reads; the network prepares logits, features and head always, the rest must be asked for."""

    LOGITS = auto()  # the network's own logits
    CALIBRATED = auto()  # the logits after the calibrator
    FEATURES = auto()  # input of the last linear layer
    GRADIENTS = auto()  # per-class parameter gradients
    HIDDEN_STATES = auto()  # one tensor a layer
    HEAD = auto()  # the last linear layer itself


@dataclass(frozen=True, slots=True)
class LinearHead:
    """The network's last linear layer, float32: logits = features @ weight.T + bias."""

    weight: Tensor  # (C, D)
    bias: Tensor  # (C,)

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or self.bias.shape != self.weight.shape[:1]:
            shapes = f"{tuple(self.weight.shape)} and {tuple(self.bias.shape)}"
            raise ValueError(f"a head has weight (C, D) and bias (C,), got {shapes}")

    def logits(self, features: Tensor) -> Tensor:
        """(N, C) for features (N, D)."""
        return torch.nn.functional.linear(features, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class LayerGradients:
    """sum_c p_c ||grad log p_c||^2 over the parameters of each of a network's last layers, the last one last."""

    energies: Tensor  # (N, depth) float32
    layers: int  # how many layers the network has in all

    def __post_init__(self) -> None:
        if self.energies.ndim != 2 or not 1 <= self.energies.shape[1] <= self.layers:
            shape = tuple(self.energies.shape)
            raise ValueError(f"energies are (N, depth) with depth in 1..{self.layers}, got shape {shape}")


@dataclass(frozen=True, slots=True)
class ModelOutputs:
    """Outputs for N items with at most C classes (images) or choices (prompts), features of width D.

    `mask` is True where an item really has that choice; None means that all items have all C. A choice that an item
    does not have gets probability 0, whatever its logit.
    """

    logits: Tensor  # (N, C) float32
    calibrated: Tensor | None = None  # (N, C) float32
    features: Tensor | None = None  # (N, D) float32
    mask: Tensor | None = None  # (N, C) bool
    head: LinearHead | None = None  # one for all items
    gradients: LayerGradients | None = None

    def __post_init__(self) -> None:
        if self.logits.ndim != 2:
            raise ValueError(f"logits must be (N, C), got shape {tuple(self.logits.shape)}")
        rows = self.logits.shape[0]
        for name in ("calibrated", "features", "mask"):
            part = getattr(self, name)
            if part is not None and part.shape[0] != rows:
                raise ValueError(f"{name} has {part.shape[0]} rows, logits have {rows}")
        if self.gradients is not None and len(self.gradients.energies) != rows:
            raise ValueError(f"gradients have {len(self.gradients.energies)} rows, logits have {rows}")
        if self.head is not None and len(self.head.bias) != self.logits.shape[1]:
            raise ValueError(f"the head gives {len(self.head.bias)} classes, logits have {self.logits.shape[1]}")

    def __len__(self) -> int:
        return self.logits.shape[0]

    def take(self, rows: Tensor) -> "ModelOutputs":
        """Some of the items: `rows` is (M,) int64 indices or an (N,) bool choice; the head stays."""
        parts = {name: getattr(self, name) for name in ("logits", "calibrated", "features", "mask")}
        taken = {name: part[rows] for name, part in parts.items() if part is not None}
        if self.gradients is not None:
            taken["gradients"] = replace(self.gradients, energies=self.gradients.energies[rows])
        return replace(self, **taken)

    def with_calibrated(self, logits: Tensor) -> "ModelOutputs":
        """The same outputs with a calibrator's logits (N, C) added."""
        return replace(self, calibrated=logits)

    def log_probabilities(self) -> Tensor:
        """(N, C): log-softmax of the network's own logits over the choices an item has."""
        return torch.log_softmax(self.masked(self.logits), dim=1)

    def calibrated_log_probabilities(self) -> Tensor:
        """(N, C): log-softmax of the calibrated logits. Raises MissingOutputError before calibration."""
        if self.calibrated is None:
            raise MissingOutputError("no calibrated logits: call a calibrator's transform() first")
        return torch.log_softmax(self.masked(self.calibrated), dim=1)

    def require_features(self) -> Tensor:
        """(N, D): the features, or MissingOutputError when they were not prepared."""
        if self.features is None:
            raise MissingOutputError("no features: this method declares Needs.FEATURES, prepare them with the pipeline")
        return self.features

    def require_head(self) -> LinearHead:
        """The head, or MissingOutputError when it was not prepared."""
        if self.head is None:
            raise MissingOutputError(
                "no head: this method declares Needs.HEAD, prepare it with the pipeline; a table has none"
            )
        return self.head

    def masked(self, logits: Tensor) -> Tensor:
        """`logits` (N, C) of these items, -infinity where an item does not have the choice."""
        return logits if self.mask is None else logits.masked_fill(~self.mask, -torch.inf)
