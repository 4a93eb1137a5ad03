"""How well a score tells rows outside the training distribution from rows inside. Outside is the positive class."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.metrics.ranking import auroc

RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class Detection:
    """Of one score on one pair of sets. AUROC and AUPR: higher is better; FPR95: lower is better."""

    auroc: float
    aupr: float
    fpr95: float


def detection(inside: Tensor, outside: Tensor) -> Detection:
    """From scores (N,) and (M,), higher meaning outside."""
    score = torch.cat([inside, outside])
    positive = torch.arange(len(score)) >= len(inside)
    return Detection(auroc(score, positive), average_precision(score, positive), fpr_at_95(inside, outside))


def average_precision(score: Tensor, positive: Tensor) -> float:
    """Area under precision and recall as a sum of steps, one step for all rows of equal score."""
    order = score.argsort(descending=True)
    hits = positive[order].double().cumsum(0)
    ends = torch.cat([score[order].diff() != 0, torch.tensor([True])])
    precision = (hits / torch.arange(1, len(score) + 1))[ends]
    recall = (hits / hits[-1])[ends]
    return float((precision * recall.diff(prepend=torch.zeros(1, dtype=torch.float64))).sum())


def fpr_at_95(inside: Tensor, outside: Tensor) -> float:
    """Share of the rows inside that score no lower than the threshold which 95 % of the rows outside reach."""
    needed = -(-95 * len(outside) // 100)
    threshold = outside.sort(descending=True).values[needed - 1]
    return float((inside >= threshold).double().mean())


def auroc_of(inside: Tensor, outside: Tensor) -> float:
    return auroc(torch.cat([inside, outside]), torch.arange(len(inside) + len(outside)) >= len(inside))


@dataclass(frozen=True, slots=True)
class Draws:
    """Rows drawn with replacement, the same for every score, so that scores compare row by row."""

    inside: Tensor
    outside: Sequence[Tensor]

    @classmethod
    def of(cls, inside: int, outside: Sequence[int], seed: int = 0) -> "Draws":
        generator = torch.Generator().manual_seed(seed)
        drawn = [torch.randint(count, (RESAMPLES, count), generator=generator) for count in (inside, *outside)]
        return cls(drawn[0], drawn[1:])

    def aurocs(self, inside: Tensor, outside: Sequence[Tensor]) -> Tensor:
        """(sets, RESAMPLES): AUROC on every draw, of scores inside (N,) and outside, a tensor a set."""
        return torch.tensor(
            [
                [auroc_of(inside[mine], scores[theirs]) for mine, theirs in zip(self.inside, draws, strict=True)]
                for scores, draws in zip(outside, self.outside, strict=True)
            ],
            dtype=torch.float64,
        )


def middle_95(draws: Tensor) -> tuple[float, float]:
    """The interval that holds the middle 95 % of draws (RESAMPLES,)."""
    low, high = draws.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high
