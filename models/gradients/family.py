"""The family of gradient scores S = sum_c p_c^alpha ||g_c||_q^r with g_c = grad log p_c, and its five presets.

p are the network's own probabilities. REGrad is arXiv 2404.10124; no code and no constants of it were published, so
constants here are ours unless a source is named. Higher always means more uncertain.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from models.gradients.class_gradients import L1, SQUARED_L2, ClassGradients
from models.gradients.layer_kind import Batch


class Classes(StrEnum):
    """Which gradients are normed."""

    EVERY = "every"  # g_c of each class, weighted by p_c^alpha
    PREDICTED = "predicted"  # g_c of the most probable class alone
    UNIFORM = "uniform"  # the mean over classes of g_c, one vector


@dataclass(frozen=True, slots=True)
class Family:
    """The score is sign · sum_c p_c^alpha (sum_l w_l ||g_c^(l)||_q^q)^(r/q), w_l ∝ exp(decay · l / L), sum_l w_l = 1.

    `decay` is λ of the layer-selective weights; that they grow exponentially with depth is the paper's, the form and
    λ = 5 are ours. `depth` takes the last layers alone. `perturbations` copies of the input with Gaussian noise of
    deviation `sigma` (normalised input units) join the input, and their gradients are averaged as vectors before the
    norm (`average_gradients`) or their scores afterwards; that gradients are averaged is from a summary of the paper.
    """

    alpha: float = 1.0
    q: int = 2
    r: int = 2
    classes: Classes = Classes.EVERY
    decay: float = 0.0
    depth: int | None = None
    perturbations: int = 0
    sigma: float = 0.02
    average_gradients: bool = True
    sign: int = 1

    def __post_init__(self) -> None:
        if self.q not in (1, 2) or self.r not in (1, 2):
            raise ValueError(f"q and r are 1 or 2, got {self.q} and {self.r}")


PRESETS: dict[str, Family] = {
    # The expected squared gradient norm, the trace of the Fisher matrix at x; alpha, q, r are inferred from the text.
    "regrad": Family(decay=5.0),
    # Expected L1 norm (arXiv 2205.10439), as its first author's code has it.
    "exgrad": Family(q=1, r=1),
    # Without class weights, on probabilities: grad p_c = p_c g_c. On log-probabilities it would grow with confidence.
    "ungrad": Family(alpha=2.0),
    # The gradient of the predicted label's log-likelihood.
    "negrad": Family(r=1, classes=Classes.PREDICTED),
    # L1 norm at the last layer for a uniform target (arXiv 2110.00218), where high means familiar. Ours: its bias too.
    "gradnorm": Family(q=1, r=1, classes=Classes.UNIFORM, depth=1, sign=-1),
}


def layer_weights(decay: float, layers: int) -> Tensor:
    """(L,), float64, sum 1: ∝ exp(decay · l / L) for l = 1..L."""
    return torch.softmax(decay * torch.arange(1, layers + 1, dtype=torch.float64) / layers, dim=0)


def family_score(gradients: ClassGradients, images: Tensor, family: Family, *, seed: int = 0) -> Tensor:
    """(N,) for images (N, ...), exactly: one backward pass a class, in parts that fit the memory."""
    if family.perturbations and not family.average_gradients:
        plain = with_perturbed(images, family, seed)
        return torch.stack([_score(gradients, copy, family, 1) for copy in plain.unbind(1)]).mean(dim=0)
    copies = 1 + family.perturbations
    rows = with_perturbed(images, family, seed).flatten(0, 1)
    return _score(gradients, rows, family, copies)


def with_perturbed(images: Tensor, family: Family, seed: int) -> Tensor:
    """(N, 1 + perturbations, ...): every input and its noisy copies. The same noise for every input."""
    if not family.perturbations:
        return images[:, None]
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(family.perturbations, *images.shape[1:], generator=generator) * family.sigma
    return torch.cat([images[:, None], images[:, None] + noise.to(images)], dim=1)


def directions(family: Family, copies: int = 1) -> Callable[[Tensor], Sequence[Tensor]]:
    """Cotangents on logits (rows, C) whose pull-backs are p_c^(alpha/r) g_c, divided by the number of copies."""

    def every(logits: Tensor) -> Sequence[Tensor]:
        probabilities = logits.softmax(dim=1)
        weights = probabilities ** (family.alpha / family.r) / copies
        targets = torch.eye(logits.shape[1], dtype=logits.dtype, device=logits.device)
        return [weights[:, [label]] * (target - probabilities) for label, target in enumerate(targets)]

    def predicted(logits: Tensor) -> Sequence[Tensor]:
        target = torch.nn.functional.one_hot(logits.argmax(dim=1), logits.shape[1])
        return [(target - logits.softmax(dim=1)) / copies]

    def uniform(logits: Tensor) -> Sequence[Tensor]:
        return [(1 / logits.shape[1] - logits.softmax(dim=1)) / copies]

    return {Classes.EVERY: every, Classes.PREDICTED: predicted, Classes.UNIFORM: uniform}[family.classes]


def _score(gradients: ClassGradients, rows: Tensor, family: Family, copies: int) -> Tensor:
    total = len(gradients.layers)
    depth = min(family.depth or total, gradients.depth)
    weights = layer_weights(family.decay, total)[-depth:]
    found = []
    step = gradients.rows_at_a_time(copies)
    for part in torch.split(rows, step):
        batch = Batch(len(part) // copies, copies)
        _, norms = gradients.norms(part, batch, directions(family, copies), L1 if family.q == 1 else SQUARED_L2)
        weighted = (norms[:, :, -depth:].double() * weights.to(norms.device)).sum(dim=2)
        found.append((weighted ** (family.r / family.q)).sum(dim=0))
    return family.sign * torch.cat(found).to(rows.dtype)
