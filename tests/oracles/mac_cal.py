"""A training step under weight masks, weight by weight: two layers, ReLU between, Adam with decay of the weights."""

import math


def forward(weights, row, masks=None, scale=1.0):
    """(inputs of the ReLU, its outputs, logits) of one row; without masks every weight is whole."""
    before = [
        math.fsum(_kept(masks, "inner", u, d, scale) * w * x for d, (w, x) in enumerate(zip(unit, row, strict=True)))
        + b
        for u, (unit, b) in enumerate(zip(weights["inner"], weights["inner_offset"], strict=True))
    ]
    after = [max(value, 0.0) for value in before]
    logits = [
        math.fsum(_kept(masks, "outer", c, u, scale) * w * h for u, (w, h) in enumerate(zip(line, after, strict=True)))
        + b
        for c, (line, b) in enumerate(zip(weights["outer"], weights["outer_offset"], strict=True))
    ]
    return before, after, logits


def gradients(weights, rows, labels, masks, scale):
    """Of the mean cross-entropy, each as {(row, column): value} or {row: value}."""
    found = {"inner": {}, "inner_offset": {}, "outer": {}, "outer_offset": {}}
    for row, label in zip(rows, labels, strict=True):
        before, after, logits = forward(weights, row, masks, scale)
        total = math.fsum(math.exp(z) for z in logits)
        wrong = [math.exp(z) / total - (c == label) for c, z in enumerate(logits)]
        for c, error in enumerate(wrong):
            _add(found["outer_offset"], c, error / len(rows))
            for u, h in enumerate(after):
                _add(found["outer"], (c, u), error * h * _kept(masks, "outer", c, u, scale) / len(rows))
        for u, value in enumerate(before):
            back = math.fsum(
                error * weights["outer"][c][u] * _kept(masks, "outer", c, u, scale) for c, error in enumerate(wrong)
            ) * (value > 0)
            _add(found["inner_offset"], u, back / len(rows))
            for d, x in enumerate(row):
                _add(found["inner"], (u, d), back * x * _kept(masks, "inner", u, d, scale) / len(rows))
    return found


def adam_step(weight, gradient, moments, step, rate, decay, masked):
    """One weight and its moments after a step, betas 0.9 and 0.999: a masked weight is what it was."""
    gradient += decay * weight
    first, second = 0.9 * moments[0] + 0.1 * gradient, 0.999 * moments[1] + 0.001 * gradient**2
    move = rate * first / (1 - 0.9**step) / (math.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return (weight if masked else weight - move), (first, second)


def _kept(masks, name, row, column, scale):
    return 1.0 if masks is None else scale * masks[name][row][column]


def _add(found, place, value):
    found[place] = found.get(place, 0.0) + value
