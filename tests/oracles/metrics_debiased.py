"""Debiased ECE by definition: the mean of a folded normal as a sum over its density."""

import math

from tests.oracles.metrics import bin_means


def folded_normal_mean(mean, spread, steps=4000, reach=9):
    if spread == 0:
        return abs(mean)
    width = 2 * reach / steps
    places = ((step + 0.5) * width - reach for step in range(steps))
    density = ((abs(mean + spread * place), math.exp(-(place**2) / 2) / math.sqrt(2 * math.pi)) for place in places)
    return math.fsum(value * weight * width for value, weight in density)


def debiased_calibration_error(confidence, correct, bins, binning):
    total = 0.0
    for count, mean, right in bin_means(confidence, correct, bins, binning):
        gap = abs(right - mean)
        bias = folded_normal_mean(gap, math.sqrt(right * (1 - right) / count)) - gap
        total += count / len(confidence) * (gap - bias)
    return max(0.0, total)
