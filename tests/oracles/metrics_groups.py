"""Measures of groups of rows by definition, in loops: grouping loss, local calibration error, figures of a class."""

import math

from tests.oracles.metrics import binned_rows, expected_calibration_error


def mean(values):
    return math.fsum(values) / len(values)


def brier_entropy(probability):
    return 2 * probability * (1 - probability)


def partition_grouping_loss(regions, confidence, correct, bins):
    """Plug-in less bias less what the width of the bins induces, each as the paper writes it."""
    plug_in = bias = induced = total = 0.0
    for rows in binned_rows(confidence, bins, "width"):
        parts = [[row for row in rows if regions[row] == region] for region in {regions[row] for row in rows}]
        parts = [part for part in parts if len(part) > 1]
        kept = [row for part in parts for row in part]
        if not kept:
            continue
        total += len(kept)
        right = mean([correct[row] for row in kept])
        rates = [(len(part), mean([correct[row] for row in part])) for part in parts]
        plug_in += len(kept) * brier_entropy(right) - math.fsum(n * brier_entropy(rate) for n, rate in rates)
        bias += 2 * math.fsum(n * rate * (1 - rate) / (n - 1) for n, rate in rates)
        bias -= 2 * len(kept) * right * (1 - right) / (len(kept) - 1)
        induced += len(kept) * brier_entropy(mean([confidence[row] for row in kept]))
        induced -= math.fsum(brier_entropy(confidence[row]) for row in kept)
    return (plug_in - bias - induced) / total


def local_errors(features, confidence, correct, bins, bandwidth):
    errors = []
    for rows in binned_rows(confidence, bins, "width"):
        for row in rows:
            weights = [
                math.exp(-math.fsum(abs(a - b) for a, b in zip(features[row], features[i], strict=True)) / bandwidth)
                for i in rows
            ]
            gaps = [confidence[i] - correct[i] for i in rows]
            errors.append(abs(math.fsum(w * g for w, g in zip(weights, gaps, strict=True))) / math.fsum(weights))
    return errors


def class_figures(probabilities, labels, bins):
    """(class, count, accuracy, mean confidence, ECE, gap) of every predicted class."""
    predicted = [row.index(max(row)) for row in probabilities]
    confidence = [max(row) for row in probabilities]
    right = [guess == label for guess, label in zip(predicted, labels, strict=True)]
    groups = {each: [row for row, guess in enumerate(predicted) if guess == each] for each in sorted(set(predicted))}
    gaps = {each: mean([confidence[row] - right[row] for row in rows]) for each, rows in groups.items()}
    factor = dict.fromkeys(groups, 0.0)
    if len(labels) > len(groups):
        within = math.fsum(
            (confidence[row] - right[row] - gaps[each]) ** 2 for each, rows in groups.items() for row in rows
        )
        noise = within / (len(labels) - len(groups))
        between = math.fsum(len(rows) * gaps[each] ** 2 for each, rows in groups.items())
        spread = max(0.0, (between - len(groups) * noise) / len(labels))
        if spread > 0:
            factor = {each: len(rows) / (len(rows) + noise / spread) for each, rows in groups.items()}
    figures = []
    for each, rows in groups.items():
        sure, hit = [confidence[row] for row in rows], [right[row] for row in rows]
        error = expected_calibration_error(sure, hit, bins, "width")
        figures.append((each, len(rows), mean(hit), mean(sure), error, gaps[each] * factor[each]))
    return figures
