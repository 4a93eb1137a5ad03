"""Scores by definition, in loops over Python numbers. `mask` is None or one bool a choice."""

import math


def kept(logits, mask):
    return [value for choice, value in enumerate(logits) if mask is None or mask[choice]]


def probabilities(logits, mask=None):
    values = kept(logits, mask)
    top = max(values)
    total = math.fsum(math.exp(value - top) for value in values)
    return [math.exp(value - top) / total for value in values]


def entropy(logits, mask=None):
    return -math.fsum(p * math.log(p) for p in probabilities(logits, mask) if p > 0)


def max_prob(logits, mask=None):
    return 1 - max(probabilities(logits, mask))


def energy(logits, mask=None):
    values = kept(logits, mask)
    top = max(values)
    return -top - math.log(math.fsum(math.exp(value - top) for value in values))


def percentile(reference, score):
    return sum(value < score for value in reference) / len(reference)
