"""What a network gives for a batch, in the one form that every calibrator and score reads."""

from dataclasses import dataclass, replace
from enum import Flag, auto

import torch
from torch import Tensor

from models.core.errors import MissingOutputError


class Needs(Flag):
    """What a method reads; logits, calibrated logits and features are always at hand, the rest must be asked for."""

    LOGITS = auto()  # the network's own logits
    CALIBRATED = auto()  # the logits after the calibrator
    FEATURES = auto()  # input of the last linear layer
    GRADIENTS = auto()  # per-class parameter gradients
    HIDDEN_STATES = auto()  # one tensor a layer


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

    def __post_init__(self) -> None:
        if self.logits.ndim != 2:
            raise ValueError(f"logits must be (N, C), got shape {tuple(self.logits.shape)}")
        rows = self.logits.shape[0]
        for name in ("calibrated", "features", "mask"):
            part = getattr(self, name)
            if part is not None and part.shape[0] != rows:
                raise ValueError(f"{name} has {part.shape[0]} rows, logits have {rows}")

    def __len__(self) -> int:
        return self.logits.shape[0]

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

    def masked(self, logits: Tensor) -> Tensor:
        """`logits` (N, C) of these items, -infinity where an item does not have the choice."""
        return logits if self.mask is None else logits.masked_fill(~self.mask, -torch.inf)
