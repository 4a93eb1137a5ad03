"""The two plug-in interfaces: a calibrator changes the probabilities, an uncertainty score gives one number an input.

Order of calls: construct with the checkpoint's `Dimensions`, then either `fit` or `load_state`, then `transform` or
`score`. What was fitted is a flat dict of float32 tensors; it travels in the checkpoint.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from models.core.errors import CheckpointError, UnfittedError
from models.core.outputs import LayerGradients, ModelOutputs, Needs

State = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Dimensions:
    """Sizes a method may size its parameters by."""

    classes: int
    features: int

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise ValueError(f"a classifier has at least 2 classes, got {self.classes}")
        if self.features < 1:
            raise ValueError(f"features must have at least 1 column, got {self.features}")


class Kind(StrEnum):
    """What an uncertainty score is about."""

    TOTAL = "total"  # both kinds together
    ALEATORIC = "aleatoric"  # the input is ambiguous
    EPISTEMIC = "epistemic"  # the model lacks knowledge


class Method(ABC):
    """What calibrators and scores share: a name, declared needs, and a fitted state that can be saved and loaded."""

    name: ClassVar[str]
    needs: ClassVar[Needs]

    def __init__(self, dimensions: Dimensions) -> None:
        self.dimensions = dimensions
        self._state: State = {}

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every fitted tensor; empty for a method that needs no fit."""
        return {}

    @property
    def fitted(self) -> bool:
        return self._state.keys() == self.state_shapes().keys()

    def state(self) -> State:
        """The fitted tensors on the CPU. Raises UnfittedError."""
        self.require_fitted()
        return {name: tensor.detach().cpu().clone() for name, tensor in self._state.items()}

    def load_state(self, state: State) -> Self:
        """Take over fitted tensors. Raises CheckpointError for other names or shapes, or values that are not finite."""
        shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        if shapes != self.state_shapes():
            raise CheckpointError(f"{self.name}: expected tensors {self.state_shapes()}, found {shapes}")
        for name, tensor in state.items():
            if not bool(torch.isfinite(tensor).all()):
                raise CheckpointError(f"{self.name}: tensor {name!r} holds NaN or infinity")
        self._state = {name: tensor.float() for name, tensor in state.items()}
        return self

    def to(self, device: torch.device) -> Self:
        self._state = {name: tensor.to(device) for name, tensor in self._state.items()}
        return self

    def require_fitted(self) -> None:
        if not self.fitted:
            raise UnfittedError(f"{self.name} is not fitted: call fit() on labelled rows or load_state() first")


class Calibrator(Method):
    """Changes the probabilities so that confidence matches accuracy. Works on logits, never on probabilities."""

    takes_masks: ClassVar[bool] = True  # False: refuses items that lack some of the choices

    @property
    def record(self) -> Mapping[str, Any]:
        """What a reader of the report may want to know of the last `fit`, as JSON has it; empty where there is nothing
        to tell, and after `load_state`."""
        return {}

    @abstractmethod
    def fit(self, outputs: ModelOutputs, labels: Tensor) -> Self:
        """Fit on N held-out rows; labels (N,) int64. Raises ValueError for labels outside the classes."""

    @abstractmethod
    def transform(self, outputs: ModelOutputs) -> ModelOutputs:
        """The outputs with `calibrated` logits (N, C) set; each row depends on that row only. Raises UnfittedError."""

    def check_labels(self, outputs: ModelOutputs, labels: Tensor) -> None:
        """Raises ValueError, saying what to change, for outputs and labels that nothing can be fitted on."""
        self.check_classes(outputs)
        if labels.shape != (len(outputs),) or labels.dtype != torch.int64:
            raise ValueError(f"labels must be ({len(outputs)},) int64, got {tuple(labels.shape)} {labels.dtype}")
        if len(outputs) == 0:
            raise ValueError("cannot fit on zero rows")
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= self.dimensions.classes:
            raise ValueError(f"labels must lie in 0..{self.dimensions.classes - 1}, got {low}..{high}")
        present = torch.ones_like(outputs.logits, dtype=torch.bool) if outputs.mask is None else outputs.mask
        if not bool(torch.isfinite(outputs.logits[present]).all()):
            raise ValueError("logits hold NaN or infinity; remove those rows before fitting")
        if not bool(present.gather(1, labels[:, None]).all()):
            raise ValueError("a label names a choice that its item does not have")

    def check_classes(self, outputs: ModelOutputs) -> None:
        """Raises ValueError unless the items have the classes that the calibrator is sized for."""
        if outputs.logits.shape[1] != self.dimensions.classes:
            raise ValueError(f"{self.name} is for {self.dimensions.classes} classes, got {outputs.logits.shape[1]}")
        if outputs.mask is not None and not self.takes_masks:
            raise ValueError(f"{self.name} needs every choice of every item; calibrate masked choices with temperature")


class UncertaintyScore(Method):
    """One float32 number an input; **higher always means more uncertain**; no input's number depends on another's."""

    kind: ClassVar[Kind]

    @abstractmethod
    def score(self, outputs: ModelOutputs) -> Tensor:
        """(N,) float32. Raises UnfittedError, or MissingOutputError when `needs` was not prepared."""


class GradientScore(UncertaintyScore):
    """A score of parameter gradients. Outputs that were prepared without them get its form for the last layer."""

    def score(self, outputs: ModelOutputs) -> Tensor:
        return self.of_last_layer(outputs) if outputs.gradients is None else self.of_layers(outputs.gradients)

    @abstractmethod
    def of_layers(self, gradients: LayerGradients) -> Tensor:
        """(N,) float32, from the gradients of several layers, however they were come by."""

    @abstractmethod
    def of_last_layer(self, outputs: ModelOutputs) -> Tensor:
        """(N,) float32, in closed form."""
