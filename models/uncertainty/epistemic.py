"""Epistemic score from per-class gradients (REGrad, arXiv 2404.10124), restricted to the last linear layer."""

from torch import Tensor

from models.core.method import Kind, UncertaintyScore
from models.core.outputs import ModelOutputs, Needs


class Epistemic(UncertaintyScore):
    """sum_c p_c ||grad log p_c||^2 over weight and bias of the last layer = (1 + ||h||^2) (1 - ||p||^2), at least 0.

    p are the network's own probabilities and h its features: the gradients are those of the network as trained, before
    any calibration. The closed form follows from grad log p_c = (e_c - p) [h; 1]^T and needs no backward pass.
    """

    name = "epistemic"
    needs = Needs.LOGITS | Needs.FEATURES
    kind = Kind.EPISTEMIC

    def score(self, outputs: ModelOutputs) -> Tensor:
        probabilities = outputs.log_probabilities().exp()
        # 1 - ||p||^2 out of the small probabilities alone: 1 - p of a nearly certain class has no digits left.
        others = probabilities.scatter(1, probabilities.argmax(dim=1, keepdim=True), 0)
        rest = others.sum(dim=1)
        spread = rest * (2 - rest) - others.square().sum(dim=1)
        return (1 + outputs.require_features().square().sum(dim=1)) * spread
