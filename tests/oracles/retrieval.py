"""Retrieval and ambiguity measures by definition, in loops over Python numbers."""

import math

from tests.oracles.metrics import auroc, spearman

ROUNDING = 1e-9


def cosine(a, b):
    product = math.fsum(x * y for x, y in zip(a, b, strict=True))
    return product / (math.sqrt(math.fsum(x * x for x in a)) * math.sqrt(math.fsum(y * y for y in b)))


def possible_outcomes(features, labels):
    """For every row the set of what may be said of its nearest row: True, False, or both where nearest ones tie."""
    outcomes = []
    for row, one in enumerate(features):
        found = {other: cosine(one, features[other]) for other in range(len(features)) if other != row}
        top = max(found.values())
        outcomes.append({labels[other] == labels[row] for other, value in found.items() if value > top - ROUNDING})
    return outcomes


def r_auroc(right, uncertainty):
    return auroc([-value for value in uncertainty], right)


def quantile(values, share):
    """Linear between the two order statistics that it falls between."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def certain_rows(labels, uncertainty, drop):
    """Row numbers that are left when each class has lost its most uncertain rows."""
    kept = []
    for row, label in enumerate(labels):
        of_class = [value for value, other in zip(uncertainty, labels, strict=True) if other == label]
        if uncertainty[row] <= quantile(of_class, 1 - drop):
            kept.append(row)
    return kept


def crop_test(u_crop, u_image):
    won = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in zip(u_crop, u_image, strict=True)]
    return math.fsum(won) / len(won)


def human_correlation(uncertainty, soft_labels):
    return spearman(uncertainty, [-math.fsum(p * math.log(p) for p in row if p > 0) for row in soft_labels])


def auroc_ood(u_in, u_out):
    return auroc([*u_in, *u_out], [False] * len(u_in) + [True] * len(u_out))
