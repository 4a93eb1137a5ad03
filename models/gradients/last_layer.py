"""The closed form for the last linear layer, whose gradient of log p_c is the outer product (e_c - p) [h; 1]'."""

from torch import Tensor


def last_layer_energy(probabilities: Tensor, features: Tensor) -> Tensor:
    """(N,): sum_c p_c ||g_c||^2 over weight and bias of the last layer, (1 + ||h||^2)(1 - ||p||^2)."""
    # 1 - ||p||^2 out of the small probabilities alone: 1 - p of a nearly certain class has no digits left.
    others = probabilities.scatter(1, probabilities.argmax(dim=1, keepdim=True), 0)
    rest = others.sum(dim=1)
    spread = rest * (2 - rest) - others.square().sum(dim=1)
    return (1 + features.square().sum(dim=1)) * spread
