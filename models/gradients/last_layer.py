"""Closed forms for the last linear layer W, whose gradient of log p_c is the outer product (e_c - p) [h; 1]'.

Everything is a sum over the classes other than the likeliest: 1 - p of a nearly certain class has no digits left.
"""

from torch import Tensor


def last_layer_energy(probabilities: Tensor, features: Tensor) -> Tensor:
    """(N,): sum_c p_c ||g_c||^2 over weight and bias of the last layer, (1 + ||h||^2)(1 - ||p||^2).

    A language model's unembedding has no bias; the 1 is counted there too, beside a ||h||^2 of a thousand or more.
    """
    others = probabilities.scatter(1, probabilities.argmax(dim=1, keepdim=True), 0)
    rest = others.sum(dim=1)
    spread = rest * (2 - rest) - others.square().sum(dim=1)
    return (1 + features.square().sum(dim=1)) * spread


class FisherDiagonal:
    """The diagonal of F = W' (diag(p) - p p') W, the Fisher matrix of the features, for one head W (C, D)."""

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight
        self._squares = weight.square()

    def of(self, probabilities: Tensor) -> Tensor:
        """(N, D) for probabilities (N, C): the variance over c of W_cd, taken about the likeliest class."""
        likeliest = probabilities.argmax(dim=1, keepdim=True)
        others = probabilities.scatter(1, likeliest, 0).to(self._weight)
        around = self._weight[likeliest[:, 0]]
        rest, mean, square = others.sum(dim=1, keepdim=True), others @ self._weight, others @ self._squares
        distance = square - 2 * around * mean + around.square() * rest
        return (distance - (mean - around * rest).square()).clamp_min(0)
