"""How much a measure would move on another sample of the same size."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.metrics._checks import positive_count, same_length


@dataclass(frozen=True)
class Interval:
    """A measure on all rows and the interval around it that holds the true value with chance `level`, about."""

    value: float
    low: float
    high: float
    level: float


def bootstrap_interval(
    statistic: Callable[..., float], *rows: Tensor, resamples: int = 500, level: float = 0.95, seed: int = 0
) -> Interval:
    """Percentile bootstrap: `statistic(*rows)` again on rows drawn with replacement, the same rows of every tensor.

    `rows` are (N, ...) tensors of independent items. Too narrow below some tens of rows, and for measures that are
    biased on small samples (for ECE see `calibration_intervals`). An error of `statistic` on a draw passes through.
    Efron 1979.
    """
    _check(rows, resamples, level)
    generator = torch.Generator().manual_seed(seed)
    count = len(rows[0])
    draws = (torch.randint(count, (count,), generator=generator) for _ in range(resamples))
    values = torch.tensor([statistic(*(tensor[draw] for tensor in rows)) for draw in draws], dtype=torch.float64)
    if not values.isfinite().all():
        raise ValueError("the statistic is NaN or infinite on some draws: bootstrap one that is always defined")
    low, high = values.quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)).tolist()
    return Interval(float(statistic(*rows)), low, high, level)


def _check(rows: tuple[Tensor, ...], resamples: int, level: float) -> None:
    if not rows or any(tensor.ndim == 0 or len(tensor) == 0 for tensor in rows):
        raise ValueError("rows must be one or more tensors (N, ...) with N >= 1")
    same_length(**{f"rows[{index}]": tensor for index, tensor in enumerate(rows)})
    positive_count(resamples, "resamples")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, such as 0.95, got {level}")
