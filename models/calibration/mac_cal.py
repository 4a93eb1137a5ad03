"""MaC-Cal (arXiv 2508.09116): a new two-layer head on the frozen features, trained under stochastic weight masks."""

from dataclasses import asdict
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from models.calibration.masked_training import (
    LabelledFeatures,
    MacCalOptions,
    bottleneck_logits,
    layer_shapes,
    train,
    width_for,
)
from models.core.device import on_cores
from models.core.method import Calibrator, Dimensions, State
from models.core.outputs import ModelOutputs, Needs

HELD_OUT_SHARE = 0.2
LARGEST_DROP = 0.01  # of accuracy
DEFAULT = MacCalOptions()


class MacCal(Calibrator):
    """softmax(bottleneck(h / s)) for features h; the predicted label may change.

    Ours: a fifth of the rows is held out to give the gap that moves the masks, to choose the epoch, and for a guard: if
    more than a point of accuracy is lost on them, or likelihood, or none could be held out (below 5 rows), the
    network's own logits stay. Features are divided by one number, the root of their mean square on the fitted rows, so
    that a rate suits every network.
    """

    name = "mac_cal"
    needs = Needs.LOGITS | Needs.FEATURES
    takes_masks = False

    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__(dimensions)
        self.width = width_for(dimensions)
        self._record: dict[str, Any] = {}

    @property
    def record(self) -> dict[str, Any]:
        """`options`, `rows`, `epochs`, the place `kept` of the epoch whose weights stayed, the `guard`'s verdict."""
        return self._record

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """`own_head` is 1 where the guard kept the network's own logits, else 0."""
        return {"scale": (), "own_head": (), **layer_shapes(self.dimensions, self.width)}

    def load_state(self, state: State) -> Self:
        """As of every method, with the width of `state`."""
        inner = state.get("inner")
        if inner is not None and inner.ndim == 2 and len(inner) > 0:
            self.width = len(inner)
        return super().load_state(state)

    def fit(self, outputs: ModelOutputs, labels: Tensor, *, options: MacCalOptions = DEFAULT) -> Self:
        """Raises ValueError also for features that are not finite, MissingOutputError without features."""
        self.check_labels(outputs, labels)
        features = self._features(outputs)
        if not bool(features.isfinite().all()):
            raise ValueError("features hold NaN or infinity; remove those rows before fitting")
        self.width = options.width or width_for(self.dimensions)
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(options.seed)).to(labels.device)
        held_out, fitting = order.tensor_split([int(HELD_OUT_SHARE * len(labels))])
        rows = {"fitted": len(fitting), "held_out": len(held_out)}
        self._record = {"options": {**asdict(options), "width": self.width}, "rows": rows}
        self._state = self._untrained(features[fitting].square().mean().sqrt())
        if len(held_out):
            part, others = (
                LabelledFeatures(self._scaled(features[rows]), labels[rows]) for rows in (fitting, held_out)
            )
            # Its products are so small that several threads only wait for each other, for minutes on a busy machine.
            with on_cores(1):
                trained = train(part, others, self.dimensions, options)
            self._state |= trained.weights
            self._record |= trained.record()
        self._guard(outputs.take(held_out), labels[held_out])
        return self

    def transform(self, outputs: ModelOutputs) -> ModelOutputs:
        self.require_fitted()
        self.check_classes(outputs)
        features = self._features(outputs)
        if bool(self._state["own_head"]):
            return outputs.with_calibrated(outputs.logits.clone())
        return outputs.with_calibrated(self._new_logits(features))

    def _features(self, outputs: ModelOutputs) -> Tensor:
        features = outputs.require_features()
        if features.shape[1] != self.dimensions.features:
            raise ValueError(f"{self.name} is for {self.dimensions.features} features, got {features.shape[1]}")
        return features

    def _untrained(self, scale: Tensor) -> State:
        zeros = {name: torch.zeros(shape, device=scale.device) for name, shape in self.state_shapes().items()}
        return zeros | {"scale": torch.where(scale > 0, scale, 1)}

    def _scaled(self, features: Tensor) -> Tensor:
        return features / self._state["scale"]

    def _new_logits(self, features: Tensor) -> Tensor:
        return bottleneck_logits(self._state, self._scaled(features))

    def _guard(self, held_out: ModelOutputs, labels: Tensor) -> None:
        """Set `own_head`, and put what it was judged by into the record: accuracy and NLL of the held-out rows."""
        if len(labels) == 0:
            self._state["own_head"].fill_(1)
            self._record["guard"] = {"held": False}
            return
        logits = {"own": held_out.logits, "new": self._new_logits(held_out.require_features())}
        accuracy = {name: float((each.argmax(dim=1) == labels).double().mean()) for name, each in logits.items()}
        nll = {name: float(cross_entropy(each.double(), labels)) for name, each in logits.items()}
        held = accuracy["own"] - accuracy["new"] <= LARGEST_DROP and nll["new"] <= nll["own"]
        self._state["own_head"].fill_(not held)
        self._record["guard"] = {"held": held, "largest_drop": LARGEST_DROP, "accuracy": accuracy, "nll": nll}
