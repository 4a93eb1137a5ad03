"""Matrix scaling with off-diagonal and intercept regularisation (ODIR; Kull et al. 2019, arXiv 1910.12656)."""

import math
from typing import Self

import torch
from torch import Tensor

from models.calibration.temperature import best_inverse_temperature
from models.core.method import Calibrator
from models.core.outputs import ModelOutputs, Needs


class Matrix(Calibrator):
    """softmax(W z + b), W (C, C) and b (C,), z less its mean over the classes; the predicted label may change.

    Penalised NLL as in their section 4, written as Gaussian priors: b has standard deviation 0.1, and an off-diagonal
    entry 0.1 / sqrt(C), so that a whole row of W moves a logit by as much as b does, however many classes there are.
    Ours: the diagonal is penalised too (log W_cc, standard deviation 0.1 around the temperature's -log T), since most
    of 1,000 classes have no row among 250. Meaningful with several rows a class; else it is nearly temperature scaling.
    """

    name = "matrix"
    needs = Needs.LOGITS
    takes_masks = False

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"weight": (self.dimensions.classes, self.dimensions.classes), "offset": (self.dimensions.classes,)}

    def fit(self, outputs: ModelOutputs, labels: Tensor, *, prior: float = 0.1) -> Self:
        self.check_labels(outputs, labels)
        logits = _centred(outputs.logits)
        inverse = best_inverse_temperature(outputs.logits.double(), labels)
        deviation = _most_probable_deviation(logits * inverse, labels, prior)
        weight = _weight(deviation, prior) * inverse
        self._state = {"weight": weight, "offset": prior * deviation[-1]}
        return self

    def transform(self, outputs: ModelOutputs) -> ModelOutputs:
        self.require_fitted()
        self.check_classes(outputs)
        weight, offset = self._state["weight"], self._state["offset"]
        return outputs.with_calibrated(_centred(outputs.logits) @ weight.T + offset)


def _centred(logits: Tensor) -> Tensor:
    # Softmax does not see a number added to all logits of a row; W would.
    return logits - logits.mean(dim=1, keepdim=True)


def _weight(deviation: Tensor, prior: float) -> Tensor:
    """W (C, C) in units of 1/T, from deviations (C + 1, C) in units of their priors; the last row is that of b."""
    entries = deviation[:-1]
    diagonal = (prior * entries.diagonal()).exp()
    off_diagonal = entries * (prior / math.sqrt(len(entries)))
    return off_diagonal.diagonal_scatter(diagonal)


def _most_probable_deviation(logits: Tensor, labels: Tensor, prior: float) -> Tensor:
    classes = logits.shape[1]
    deviation = torch.zeros(classes + 1, classes, device=logits.device, requires_grad=True)
    optimiser = torch.optim.LBFGS([deviation], max_iter=100, history_size=10, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        scaled = logits @ _weight(deviation, prior).T + prior * deviation[-1]
        nll = torch.nn.functional.cross_entropy(scaled, labels)
        loss = nll + deviation.square().sum() / (2 * len(labels))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return deviation.detach()
