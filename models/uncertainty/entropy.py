"""Entropy of the calibrated prediction: aleatoric and epistemic uncertainty together."""

from torch import Tensor

from models.core.method import Kind, UncertaintyScore
from models.core.outputs import ModelOutputs, Needs


class Entropy(UncertaintyScore):
    """-sum_c p_c log p_c in nats, in [0, log C], of the calibrated probabilities."""

    name = "entropy"
    needs = Needs.CALIBRATED
    kind = Kind.TOTAL

    def score(self, outputs: ModelOutputs) -> Tensor:
        log_probabilities = outputs.calibrated_log_probabilities()
        probabilities = log_probabilities.exp()
        # A choice that an item does not have is -inf, and 0 * -inf is NaN where the term's limit is 0.
        return -(probabilities * log_probabilities.clamp_min(-1e4)).sum(dim=1)
