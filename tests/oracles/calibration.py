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


def respread(probabilities, confidence):
    """One row with `confidence` in its most probable class and the rest in the others in their old proportions."""
    top = probabilities.index(max(probabilities))
    rest = math.fsum(p for index, p in enumerate(probabilities) if index != top)
    return [confidence if index == top else p / rest * (1 - confidence) for index, p in enumerate(probabilities)]


def isotonic_accuracies(confidences, right):
    """The accuracy of every row's flat stretch: neighbours are merged while a later stretch has a lower mean."""
    order = sorted(range(len(right)), key=lambda row: confidences[row])
    stretches = []
    for row in order:
        stretches.append([row])
        while len(stretches) > 1 and _falls_or_ties(stretches[-2], stretches[-1], confidences, right):
            stretches[-2:] = [stretches[-2] + stretches[-1]]
    return {row: _mean(right, rows) for rows in stretches for row in rows}


def _falls_or_ties(first, second, confidences, right):
    return _mean(right, first) >= _mean(right, second) or confidences[first[-1]] == confidences[second[0]]


def _mean(values, rows):
    return math.fsum(values[row] for row in rows) / len(rows)


def bin_accuracies(confidences, right, bins):
    """The accuracy of every row's bin, bins of equal mass over distinct confidences, N a multiple of `bins`."""
    order = sorted(range(len(right)), key=lambda row: confidences[row])
    size = len(order) // bins
    chunks = [order[start : start + size] for start in range(0, len(order), size)]
    return {row: _mean(right, rows) for rows in chunks for row in rows}


def beta_objective(slopes, offset, confidences, right, prior):
    """Beta calibration's penalised NLL of being right: the mean loss, and the prior's share for one row."""
    losses = []
    for p, hit in zip(confidences, right, strict=True):
        g = 1 / (1 + math.exp(-(slopes[0] * math.log(p) - slopes[1] * math.log(1 - p) + offset)))
        losses.append(-math.log(g if hit else 1 - g))
    prior_terms = math.fsum(math.log(slope) ** 2 for slope in slopes) + offset**2
    return (math.fsum(losses) + prior_terms / (2 * prior**2)) / len(right)


def matrix_logits(weight, offset, logits):
    """Matrix scaling's logits, loop by loop."""
    centred = [[z - math.fsum(row) / len(row) for z in row] for row in logits]
    return [
        [
            math.fsum(w * z for w, z in zip(weights, row, strict=True)) + b
            for weights, b in zip(weight, offset, strict=True)
        ]
        for row in centred
    ]


def matrix_objective(weight, offset, inverse, logits, labels, prior):
    """Matrix scaling's penalised NLL; `inverse` is 1/T, around which the diagonal's prior lies."""
    classes = range(len(offset))
    terms = [(math.log(weight[c][c] / inverse)) ** 2 for c in classes] + [b**2 for b in offset]
    terms += [(weight[c][d] / inverse) ** 2 * len(offset) for c in classes for d in classes if c != d]
    nll = negative_log_likelihood(matrix_logits(weight, offset, logits), labels)
    return nll + math.fsum(terms) / (2 * prior**2 * len(labels))


def clipped_logits(features, weight, bias, clip):
    """The head's logits for features cut off at -clip and clip."""
    cut = [[min(max(value, -clip), clip) for value in row] for row in features]
    return [
        [
            math.fsum(w * h for w, h in zip(weights, row, strict=True)) + b
            for weights, b in zip(weight, bias, strict=True)
        ]
        for row in cut
    ]
