"""Calibrators by search and by definition."""

import math

from tests.oracles.metrics import negative_log_likelihood


def best_temperature(logits, labels, lowest=0.02, highest=50.0, steps=100, rounds=6):
    """The temperature of least NLL on a geometric grid, refined around the best point."""
    for _ in range(rounds):
        grid = [lowest * (highest / lowest) ** (step / steps) for step in range(steps + 1)]
        losses = [negative_log_likelihood([[z / t for z in row] for row in logits], labels) for t in grid]
        best = losses.index(min(losses))
        lowest, highest = grid[max(best - 1, 0)], grid[min(best + 1, steps)]
    return math.sqrt(lowest * highest)


def vector_objective(scale, offset, common, logits, labels, prior):
    """Vector scaling's penalised NLL: the mean loss, and the prior's share for one row."""
    transformed = [[a * z + b for a, z, b in zip(scale, row, offset, strict=True)] for row in logits]
    prior_terms = math.fsum(math.log(a / common) ** 2 for a in scale) + math.fsum(b**2 for b in offset)
    return negative_log_likelihood(transformed, labels) + prior_terms / (2 * prior**2 * len(labels))
