"""Training of classifiers by definition: losses row by row over Python numbers, images moved pixel by pixel."""

import math

import numpy as np


def probabilities(logits):
    powers = [math.exp(value - max(logits)) for value in logits]
    return [power / math.fsum(powers) for power in powers]


def cross_entropy(logits, label):
    return -math.log(probabilities(logits)[label])


def focal(logits, label, gamma=3.0):
    p = probabilities(logits)[label]
    return -((1 - p) ** gamma) * math.log(p)


def flsd53(logits, label):
    return focal(logits, label, 5.0 if probabilities(logits)[label] < 0.2 else 3.0)


def focal_calibration(logits, label):
    distance = math.fsum((p - (place == label)) ** 2 for place, p in enumerate(probabilities(logits)))
    return focal(logits, label) + 0.5 * distance


def soft_cross_entropy(logits, target):
    """`target` is a probability a class."""
    return -math.fsum(share * math.log(p) for share, p in zip(target, probabilities(logits), strict=True))


def smoothed(logits, label, share):
    classes = len(logits)
    return soft_cross_entropy(logits, [(place == label) * (1 - share) + share / classes for place in range(classes)])


def moved(image, flip, down, across, margin):
    """An (H, W, 3) image, mirrored if `flip`, seen through a window moved by (down, across); reflected outside."""
    height, width, _ = image.shape
    turned = image[:, ::-1] if flip else image
    wide = np.pad(turned, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    return wide[margin + down : margin + down + height, margin + across : margin + across + width]


def averaged(states, decay):
    """Of numbers after step 0, 1, 2, …: each step takes the share of the decay, which grows at first, from before."""
    found = states[0]
    for step, state in enumerate(states[1:], start=1):
        share = min(decay, (1 + step) / (10 + step))
        found = share * found + (1 - share) * state
    return found
