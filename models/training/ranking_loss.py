"""What an uncertainty head is trained with: u should order the rows of a batch as their task losses do.

`values` are the head's u (B,), `losses` the task losses (B,) of the same rows, which never get a gradient. A tie, of
losses that are equal or closer than the dead zone, teaches nothing: it costs 0 and is left out of the mean, so that
many ties do not weaken the other pairs. A batch of ties alone gives 0 with gradient 0.
"""

from collections.abc import Callable

from torch import Tensor, cat


def pair_loss(values: Tensor, losses: Tensor, margin: float = 0.1, dead_zone: float = 0.0) -> Tensor:
    """Mean of max(0, m - s (u_1 - u_2)) over the pairs (0, 1), (2, 3) ... (arXiv 2402.16569, equation 3); scalar.

    s is 1 where the first row has the higher loss, -1 where the second has. Rows have to come in random order. Of an
    odd batch the last row pairs with the first (ours: the released code asks for even batches).
    """
    _check(values, losses)
    if len(values) % 2:
        values, losses = cat([values, values[:1]]), cat([losses, losses[:1]])
    return _hinge(values[0::2] - values[1::2], losses[0::2] - losses[1::2], margin, dead_zone)


def all_pairs_loss(values: Tensor, losses: Tensor, margin: float = 0.1, dead_zone: float = 0.0) -> Tensor:
    """As `pair_loss`, over all B (B - 1) / 2 pairs of the batch; in any order of rows. For ablation."""
    _check(values, losses)
    # Of both orders of a pair the hinge is the same, and a row with itself is a tie: the mean is that of the pairs.
    return _hinge(values[:, None] - values, losses[:, None] - losses, margin, dead_zone)


def squared_loss(values: Tensor, losses: Tensor, _margin: float = 0.1, _dead_zone: float = 0.0) -> Tensor:
    """Mean of (u - l)² (loss prediction of URL, arXiv 2307.03810); depends on the scale of the losses. For ablation."""
    _check(values, losses)
    return (values - losses.detach()).square().mean()


LOSSES: dict[str, Callable[[Tensor, Tensor, float, float], Tensor]] = {
    "pairs": pair_loss,
    "all_pairs": all_pairs_loss,
    "squared": squared_loss,
}


def _check(values: Tensor, losses: Tensor) -> None:
    if values.ndim != 1 or values.shape != losses.shape or len(values) == 0:
        shapes = f"{tuple(values.shape)} and {tuple(losses.shape)}"
        raise ValueError(f"values and losses must both be (B,) with B >= 1, got {shapes}: pass one of each a row")


def _hinge(values: Tensor, losses: Tensor, margin: float, dead_zone: float) -> Tensor:
    """`values` and `losses` are differences, first row less second."""
    losses = losses.detach()
    sign = losses.sign() * (losses.abs() >= dead_zone)
    told_apart = sign != 0
    hinges = (margin - sign * values).clamp_min(0) * told_apart
    return hinges.sum() / told_apart.sum().clamp_min(1)
