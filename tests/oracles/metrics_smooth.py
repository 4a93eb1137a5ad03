"""Smooth ECE by definition: the reflected Gaussian summed row by row, the integral by the midpoint rule."""

import math


def reflected_gaussian(place, centre, width):
    """Density at `place` of a Gaussian around `centre` whose mass outside [0, 1] is folded back at both ends."""
    images = [2 * shift + sign * centre for shift in range(-6, 7) for sign in (1, -1)]
    scale = width * math.sqrt(2 * math.pi)
    return math.fsum(math.exp(-(((place - image) / width) ** 2) / 2) for image in images) / scale


def smooth_error(confidence, correct, width, points):
    total = 0.0
    for step in range(points):
        place = (step + 0.5) / points
        total += abs(
            math.fsum(
                reflected_gaussian(place, value, width) * (right - value)
                for value, right in zip(confidence, correct, strict=True)
            )
        )
    return total / points / len(confidence)


def smooth_calibration_error(confidence, correct, points=150):
    """The width that equals the error at that width, by halving [0, 1]; the error falls with the width."""
    low, high = 0.0, 1.0
    for _ in range(14):
        width = (low + high) / 2
        if smooth_error(confidence, correct, width, points) > width:
            low = width
        else:
            high = width
    return (low + high) / 2
