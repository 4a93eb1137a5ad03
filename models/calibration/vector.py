"""Vector scaling (Guo et al. 2017, arXiv 1706.04599, section 4.2): a factor and an offset for every class."""

from typing import Self

import torch
from torch import Tensor

from models.calibration.temperature import best_inverse_temperature
from models.core.method import Calibrator
from models.core.outputs import ModelOutputs, Needs


class Vector(Calibrator):
    """softmax(a * z + b), a and b (C,), fitted by penalised NLL; the predicted label may change.

    log a and b have a Gaussian prior of standard deviation 0.1 around temperature scaling's -log T and 0 (ours: the
    paper's form has none): a class with few or no rows then stays near temperature scaling instead of following its
    noise, and rows that are all right cannot drive the scale to infinity.
    """

    name = "vector"
    needs = Needs.LOGITS

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"scale": (self.dimensions.classes,), "offset": (self.dimensions.classes,)}

    def fit(self, outputs: ModelOutputs, labels: Tensor, *, prior: float = 0.1) -> Self:
        self.check_labels(outputs, labels)
        logits = outputs.logits.double()
        if outputs.mask is not None:  # whatever stands there, 0 * inf would reach the factors
            logits = logits.masked_fill(~outputs.mask, 0)
        strength = 1 / (2 * prior**2 * len(outputs))
        common = best_inverse_temperature(logits, labels, outputs.mask)
        scale = torch.zeros(logits.shape[1], dtype=torch.float64, device=logits.device, requires_grad=True)
        offset = torch.zeros_like(scale, requires_grad=True)
        optimiser = torch.optim.LBFGS([scale, offset], max_iter=200, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimiser.zero_grad()
            scaled = outputs.masked(common * scale.exp() * logits + offset)
            nll = torch.nn.functional.cross_entropy(scaled, labels)
            loss = nll + strength * (scale.square().sum() + offset.square().sum())
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimiser.step(closure)  # type: ignore[no-untyped-call]
        self._state = {"scale": (common * scale.exp()).detach().float(), "offset": offset.detach().float()}
        return self

    def transform(self, outputs: ModelOutputs) -> ModelOutputs:
        self.require_fitted()
        self.check_classes(outputs)
        return outputs.with_calibrated(outputs.logits * self._state["scale"] + self._state["offset"])
