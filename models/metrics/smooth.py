"""Smooth ECE: the calibration error without bins, so that a row that moves a little changes it a little."""

import math

import torch
from torch import Tensor

from models.metrics._checks import confidence_and_outcome

CELLS = 1024
HALVINGS = 16  # the width is then known to 1e-5 of the error without smoothing


def smooth_calibration_error(confidence: Tensor, correct: Tensor) -> float:
    """smECE in [0, 1], 0 is best: the width sigma at which smECE_sigma = sigma.

    `confidence` (N,) in [0, 1], `correct` (N,) bool. smECE_sigma is the integral over t in [0, 1] of
    |mean over rows of K_sigma(t, confidence) * (correct - confidence)|, K a Gaussian of width sigma reflected at 0 and
    1. Has no bins to choose, yet noise of few rows adds to it as to ECE. Confidences are shared out between the two
    nearest of 1024 cells. Blasiok & Nakkiran 2023 (arXiv
    2309.12236).
    """
    confidence, correct = confidence_and_outcome(confidence, correct)
    mass = cell_residuals(confidence[None], (correct.double() - confidence)[None])
    return float(fixed_widths(mass)[0])


def cell_residuals(confidence: Tensor, residual: Tensor) -> Tensor:
    """Mean over rows of the `residual` that falls in each cell, (R, CELLS), for R samples (R, N) of both."""
    place = (confidence * CELLS - 0.5).clamp(0, CELLS - 1)
    lower = place.floor()
    share = place - lower
    cells = lower.long() + torch.arange(len(confidence))[:, None] * CELLS
    size = len(confidence) * CELLS
    mass = cells.flatten().bincount((residual * (1 - share)).flatten(), minlength=size)
    # A row in the last cell of its sample has share 0, so the next cell, which is another sample's, gets nothing.
    mass += (cells + 1).clamp(max=size - 1).flatten().bincount((residual * share).flatten(), minlength=size)
    return mass.view(-1, CELLS) / confidence.shape[1]


def fixed_widths(mass: Tensor) -> Tensor:
    """The sigma (R,) with smECE_sigma = sigma for each row of `mass` (R, CELLS).

    smECE_sigma falls with sigma, so halving finds it. A reflected Gaussian only scales cosines, which are the Fourier
    terms of `mass` followed by its mirror image.
    """
    spectrum = torch.fft.rfft(torch.cat([mass, mass.flip(1)], dim=1))
    decay = -(torch.arange(CELLS + 1, dtype=torch.float64) * math.pi).square() / 2
    low, high = torch.zeros(len(mass), dtype=torch.float64), mass.abs().sum(dim=1)
    for _ in range(HALVINGS):
        width = (low + high) / 2
        smoothed = torch.fft.irfft(spectrum * (decay * width[:, None].square()).exp(), n=2 * CELLS)
        above = smoothed[:, :CELLS].abs().sum(dim=1) > width
        low, high = torch.where(above, width, low), torch.where(above, high, width)
    return (low + high) / 2
