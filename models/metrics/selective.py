"""What is gained by answering only the rows a model is sure of: risk is the mean error of the rows that are kept."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from models.metrics._checks import real_vector, same_length


@dataclass(frozen=True)
class RiskPoint:
    """`risk` is the mean error of the share `coverage` of the rows that is kept."""

    coverage: float
    risk: float


def risk_coverage(uncertainty: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
    """Coverage (N,) = 1/N, 2/N .. 1 and the mean error (N,) of that share of rows, lowest uncertainty kept first.

    `uncertainty` (N,), higher is more uncertain; `error` (N,) bool or any loss, lower is better. A tied row counts with
    the mean error of its ties, which is what a random order among them gives on average, so row order plays no part.
    El-Yaniv & Wiener 2010.
    """
    same_length(uncertainty=uncertainty, error=error)
    error = real_vector(error, "error")
    _, group, size = torch.unique(real_vector(uncertainty, "uncertainty"), return_inverse=True, return_counts=True)
    total = group.bincount(error)
    end = size.cumsum(0)
    kept = torch.arange(1, len(error) + 1, dtype=torch.float64)
    inside = kept - (end - size).repeat_interleave(size)
    # Whole group totals, not a running sum of group means, keep the risk at the end of a group exact, so that a
    # comparison such as risk <= 0.1 holds for one error in ten.
    part = total.repeat_interleave(size) * inside / size.repeat_interleave(size)
    before = torch.cat([torch.zeros(1, dtype=torch.float64), total.cumsum(0)[:-1]])
    return kept / len(error), (before.repeat_interleave(size) + part) / kept


def aurc(uncertainty: Tensor, error: Tensor) -> float:
    """Area under the risk-coverage curve: mean of its N risks, lower is better.

    Bounded by the lowest and highest error; a constant uncertainty gives the mean error. Depends on accuracy as well as
    ranking, so compare it for one model only. Geifman et al. 2019 (arXiv 1805.08206).
    """
    return float(risk_coverage(uncertainty, error)[1].mean())


def coverage_at_risk(uncertainty: Tensor, error: Tensor, risk: float) -> float:
    """Largest coverage in [0, 1] whose risk is at most `risk`, 0 where none is; higher is better.

    Reads the curve of `risk_coverage`, where a point inside a group of ties means keeping a random part of the group.
    """
    if math.isnan(risk):
        raise ValueError("risk is NaN: pass the mean error that is acceptable, such as 0.05")
    coverage, risks = risk_coverage(uncertainty, error)
    allowed = coverage[risks <= risk]
    return float(allowed[-1]) if len(allowed) else 0.0


def ause(uncertainty: Tensor, error: Tensor) -> float:
    """Area under the sparsification error: how far the order is from the best one for this `error`; 0 is best.

    Mean over coverages of (risk, rows kept by `uncertainty`) - (risk, rows kept by `error` itself), over the mean
    error, so that models of different accuracy compare. Inputs as in `risk_coverage`; name the error with the figure.
    Raises ValueError where all errors are 0. Ilg et al. 2018 (arXiv 1802.07095).
    """
    mean = float(real_vector(error, "error").mean())
    if mean == 0:
        raise ValueError("AUSE is relative to the mean error, which is 0: add rows with an error or skip the measure")
    return (aurc(uncertainty, error) - aurc(error, error)) / mean


def thinned_curve(uncertainty: Tensor, error: Tensor, points: int = 101) -> tuple[RiskPoint, ...]:
    """`risk_coverage` at no more than `points` coverages, evenly spaced from the lowest to 1: to draw and to store."""
    coverage, risk = risk_coverage(uncertainty, error)
    kept = torch.linspace(0, len(coverage) - 1, min(points, len(coverage)), dtype=torch.float64).round().long()
    return tuple(RiskPoint(*pair) for pair in zip(coverage[kept].tolist(), risk[kept].tolist(), strict=True))
