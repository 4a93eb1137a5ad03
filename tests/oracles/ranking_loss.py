"""Ranking losses by definition, in loops over Python numbers."""

import itertools
import math


def pair_terms(values, losses, pairs, margin, dead_zone):
    """The hinge of every pair whose losses can be told apart."""
    terms = []
    for first, second in pairs:
        if losses[first] == losses[second] or abs(losses[first] - losses[second]) < dead_zone:
            continue
        sign = 1 if losses[first] > losses[second] else -1
        terms.append(max(0.0, margin - sign * (values[first] - values[second])))
    return terms


def mean_or_zero(terms):
    return math.fsum(terms) / len(terms) if terms else 0.0


def pairs(values, losses, margin, dead_zone):
    rows = [*range(len(values))]
    if len(rows) % 2:
        rows.append(0)
    neighbours = [(rows[place], rows[place + 1]) for place in range(0, len(rows), 2)]
    return mean_or_zero(pair_terms(values, losses, neighbours, margin, dead_zone))


def all_pairs(values, losses, margin, dead_zone):
    every = itertools.combinations(range(len(values)), 2)
    return mean_or_zero(pair_terms(values, losses, every, margin, dead_zone))


def squared(values, losses, margin, dead_zone):
    return mean_or_zero([(value - loss) ** 2 for value, loss in zip(values, losses, strict=True)])


def head(state, row):
    """u of one row of features, for the nested lists of a head's tensors."""
    layers = len(state) // 2
    for layer in range(layers):
        weight, bias = state[f"weight.{layer}"], state[f"bias.{layer}"]
        row = [
            math.fsum(w * x for w, x in zip(unit, row, strict=True)) + b for unit, b in zip(weight, bias, strict=True)
        ]
        if layer < layers - 1:
            row = [value if value > 0 else 0.01 * value for value in row]
    return math.log1p(math.exp(row[0])) + 1e-6
