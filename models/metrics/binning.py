"""Which bin a confidence falls in: the one rule behind every binned measure."""

from typing import Literal

import torch
from torch import Tensor

from models.metrics._checks import positive_count

Binning = Literal["width", "mass"]


def bin_membership(confidence: Tensor, bins: int, binning: Binning = "width") -> Tensor:
    """Bin number 0..bins-1 of every row, (N,) int64, for `confidence` (N,) float64 in [0, 1].

    Equal-width bins hold lower < confidence <= upper (the first also 0) and take any shape. Equal-mass bins differ by
    one row at most; rows of equal confidence are dealt to them in row order.
    """
    positive_count(bins, "bins")
    if binning == "width":
        # k / bins is the rounded true edge; torch.linspace can be one ulp off, which moves rows that lie on it.
        return torch.bucketize(confidence, torch.arange(1, bins, dtype=torch.float64) / bins)
    if binning == "mass":
        sizes = torch.full((bins,), len(confidence) // bins)
        sizes[: len(confidence) % bins] += 1
        member = torch.empty(len(confidence), dtype=torch.int64)
        member[confidence.argsort(stable=True)] = torch.arange(bins).repeat_interleave(sizes)
        return member
    raise ValueError(f"binning must be 'width' or 'mass', got {binning!r}")
