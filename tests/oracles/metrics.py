"""Metrics by definition, in loops over Python numbers: slow, obvious, and the truth the fast ones are held to."""

import itertools
import math

import numpy as np


def binned_rows(confidence, bins, binning):
    """Row numbers of every bin, empty bins included."""
    if binning == "mass":
        ascending = sorted(range(len(confidence)), key=lambda row: confidence[row])
        return [list(map(int, part)) for part in np.array_split(ascending, bins)]
    rows = [[] for _ in range(bins)]
    for row, value in enumerate(confidence):
        rows[next(m for m in range(bins) if value <= (m + 1) / bins)].append(row)
    return rows


def bin_means(confidence, correct, bins, binning):
    """(count, mean confidence, accuracy) of every non-empty bin."""
    return [
        (
            len(rows),
            math.fsum(confidence[row] for row in rows) / len(rows),
            sum(correct[row] for row in rows) / len(rows),
        )
        for rows in binned_rows(confidence, bins, binning)
        if rows
    ]


def expected_calibration_error(confidence, correct, bins, binning):
    means = bin_means(confidence, correct, bins, binning)
    return math.fsum(count / len(confidence) * abs(right - mean) for count, mean, right in means)


def maximum_calibration_error(confidence, correct, bins, binning):
    return max(abs(right - mean) for _, mean, right in bin_means(confidence, correct, bins, binning))


def noise_floor(confidence, bins, binning):
    """Exact expectation of ECE over all 2**N outcomes of correct ~ Bernoulli(confidence)."""
    expectation = 0.0
    for correct in itertools.product([False, True], repeat=len(confidence)):
        chance = math.prod(c if right else 1 - c for c, right in zip(confidence, correct, strict=True))
        expectation += chance * expected_calibration_error(confidence, correct, bins, binning)
    return expectation


def softmax(row):
    top = max(row)
    total = math.fsum(math.exp(value - top) for value in row)
    return [math.exp(value - top) / total for value in row]


def negative_log_likelihood(logits, labels):
    losses = []
    for row, label in zip(logits, labels, strict=True):
        top = max(row)
        losses.append(top + math.log(math.fsum(math.exp(value - top) for value in row)) - row[label])
    return math.fsum(losses) / len(losses)


def brier_score(probabilities, labels):
    scores = [
        math.fsum((p - (k == label)) ** 2 for k, p in enumerate(row))
        for row, label in zip(probabilities, labels, strict=True)
    ]
    return math.fsum(scores) / len(scores)


def predicted(scores):
    return [row.index(max(row)) for row in scores]


def auroc(score, positive):
    wins = [
        1.0 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0.0
        for i in range(len(score))
        for j in range(len(score))
        if positive[i] and not positive[j]
    ]
    return math.fsum(wins) / len(wins)


def ranks(values):
    """1 for the lowest; a tie has the mean of the places it could take."""
    return [
        sum(other < value for other in values) + (1 + sum(other == value for other in values)) / 2 for value in values
    ]


def spearman(a, b):
    a, b = ranks(a), ranks(b)
    mean = (len(a) + 1) / 2
    covariance = math.fsum((x - mean) * (y - mean) for x, y in zip(a, b, strict=True))
    return covariance / math.sqrt(math.fsum((x - mean) ** 2 for x in a) * math.fsum((y - mean) ** 2 for y in b))


def risk_coverage(uncertainty, error):
    """Risk at k kept rows, averaged over every order in which tied rows can be taken."""
    rows = range(len(error))
    orders = [
        order
        for order in itertools.permutations(rows)
        if all(uncertainty[i] <= uncertainty[j] for i, j in itertools.pairwise(order))
    ]
    return [
        math.fsum(math.fsum(error[row] for row in order[:kept]) / kept for order in orders) / len(orders)
        for kept in range(1, len(error) + 1)
    ]


def coverage_at_risk(uncertainty, error, risk):
    risks = risk_coverage(uncertainty, error)
    return max((kept / len(risks) for kept, value in enumerate(risks, start=1) if value <= risk), default=0.0)


def ause(uncertainty, error):
    """Mean distance of the risk curve from that of an order by the error itself, over the risk of all rows."""
    ranked, best = risk_coverage(uncertainty, error), risk_coverage(error, error)
    return math.fsum(a - b for a, b in zip(ranked, best, strict=True)) / len(error) / ranked[-1]
