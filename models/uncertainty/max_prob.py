"""One minus the calibrated confidence: the baseline of Hendrycks and Gimpel (arXiv 1610.02136)."""

from torch import Tensor

from models.core.method import Kind, UncertaintyScore
from models.core.outputs import ModelOutputs, Needs


class MaxProb(UncertaintyScore):
    """1 - max_c p_c of the calibrated probabilities, in [0, 1 - 1/C]."""

    name = "max_prob"
    needs = Needs.CALIBRATED
    kind = Kind.TOTAL

    def score(self, outputs: ModelOutputs) -> Tensor:
        logs = outputs.calibrated_log_probabilities()
        # The sum of the others: 1 - p of a nearly certain label has no digits left.
        return logs.exp().scatter(1, logs.argmax(dim=1, keepdim=True), 0).sum(dim=1)
