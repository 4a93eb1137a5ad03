"""Beta calibration (Kull, Silva Filho and Flach 2017, AISTATS) of the predicted label's confidence."""

from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from models.calibration.top_label import top_label, with_log_odds
from models.core.method import Calibrator
from models.core.outputs import ModelOutputs, Needs


class Beta(Calibrator):
    """log(g / (1 - g)) = a log p - b log(1 - p) + c with a, b > 0 (their equation 5), fitted by the NLL of being right.

    a = b is temperature scaling of two classes; a and b apart bend the two ends of the reliability curve differently.
    log a, log b and c have a Gaussian prior of standard deviation 2 around 0, the identity (ours: rows that are all
    right would drive them to infinity); on 250 rows of ImageNet it moved no confidence by more than 0.022.
    """

    name = "beta"
    needs = Needs.LOGITS

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"slopes": (2,), "offset": ()}

    def fit(self, outputs: ModelOutputs, labels: Tensor, *, prior: float = 2.0) -> Self:
        self.check_labels(outputs, labels)
        top = top_label(outputs)
        right = (top.index == labels).double()
        strength = 1 / (2 * prior**2 * len(labels))
        free = torch.zeros(3, dtype=torch.float64, device=right.device, requires_grad=True)  # log a, log b, c
        optimiser = torch.optim.LBFGS([free], max_iter=200, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimiser.zero_grad()
            nll = binary_cross_entropy_with_logits(_log_odds(top.log_odds, free[:2].exp(), free[2]), right)
            loss = nll + strength * free.square().sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimiser.step(closure)  # type: ignore[no-untyped-call]
        found = free.detach()
        self._state = {"slopes": found[:2].exp().float(), "offset": found[2].float()}
        return self

    def transform(self, outputs: ModelOutputs) -> ModelOutputs:
        self.require_fitted()
        self.check_classes(outputs)
        top = top_label(outputs)
        return with_log_odds(outputs, top, _log_odds(top.log_odds, self._state["slopes"], self._state["offset"]))


def _log_odds(log_odds: Tensor, slopes: Tensor, offset: Tensor) -> Tensor:
    # log p and log(1 - p) from the log-odds: neither is ever log 0.
    return slopes[0] * logsigmoid(log_odds) - slopes[1] * logsigmoid(-log_odds) + offset
