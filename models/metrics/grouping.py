"""Grouping loss: how far single probabilities lie from the accuracy of their confidence level. Calibration hides it."""

import torch
from torch import Tensor

from models.metrics._checks import confidence_and_outcome, feature_rows, same_length
from models.metrics.binning import bin_membership

REGION_ROWS = 30  # fitting rows in a region at least


def grouping_loss(features: Tensor, confidence: Tensor, correct: Tensor, *, bins: int = 15, seed: int = 0) -> float:
    """Lower bound of the grouping loss of the top label in units of the two-class Brier score; 0 is best.

    A random half of the rows splits every confidence bin into regions of `features` (N, D), by a decision tree on
    correctness; the other half measures how much accuracy differs between them. No features known to the tree, no loss
    found: 0 is no proof. An estimate, so it can fall below 0 where there is none. `confidence` (N,), `correct` (N,)
    bool. Perez-Lebel et al. 2023 (arXiv 2210.16315); at least 30 rows a region is ours.
    """
    confidence, correct = confidence_and_outcome(confidence, correct)
    features = feature_rows(features)
    same_length(features=features, confidence=confidence)
    order = torch.randperm(len(confidence), generator=torch.Generator().manual_seed(seed))
    fit, judge = order.tensor_split(2)
    regions = _tree_regions(features, correct, bin_membership(confidence, bins), fit, judge, seed)
    return partition_grouping_loss(regions, confidence[judge], correct[judge], bins=bins)


def partition_grouping_loss(regions: Tensor, confidence: Tensor, correct: Tensor, *, bins: int = 15) -> float:
    """The bound for given `regions` (N,) int64 >= 0, counted within each bin, of rows they were not fitted on.

    Mean over bins of e(accuracy of the bin) - e(accuracy of its regions) with e(p) = 2 p (1 - p), less what finite
    counts add to that and less what the width of the bin alone would give (the spread of confidence in it). Regions of
    one row are left out. Raises ValueError where no region has two.
    """
    confidence, correct = confidence_and_outcome(confidence, correct)
    member = bin_membership(confidence, bins)
    cell = member * (int(regions.max()) + 1) + regions
    kept = cell.bincount()[cell] > 1
    if not kept.any():
        raise ValueError("no region holds two rows: give more rows or fewer regions")
    cell, member, confidence, correct = cell[kept], member[kept], confidence[kept], correct[kept]
    between = _unbiased_spread(member, correct) - _unbiased_spread(cell, correct)
    within = _spread(_group_mean(member, confidence)[member]) - _spread(confidence)
    return between - within


def _tree_regions(features: Tensor, correct: Tensor, member: Tensor, fit: Tensor, judge: Tensor, seed: int) -> Tensor:
    """Leaf number of every row of `judge`; 0 where no row of its bin was there to fit."""
    # A second to import, and needed only where there are features.
    from sklearn.tree import DecisionTreeClassifier  # type: ignore[import-untyped]

    regions = torch.zeros(len(judge), dtype=torch.int64)
    for index in torch.unique(member[judge]):
        rows, asked = fit[member[fit] == index], member[judge] == index
        if len(rows):
            tree = DecisionTreeClassifier(min_samples_leaf=REGION_ROWS, random_state=seed)
            tree.fit(features[rows].numpy(), correct[rows].numpy())
            regions[asked] = torch.from_numpy(tree.apply(features[judge[asked]].numpy()))
    return regions


def _unbiased_spread(group: Tensor, correct: Tensor) -> float:
    """Mean over rows of e(accuracy of the row's group), where a (1 - a) n / (n - 1) stands for a (1 - a) of n rows."""
    counts = group.bincount()[group]
    accuracy = _group_mean(group, correct.double())[group]
    return float((2 * accuracy * (1 - accuracy) * counts / (counts - 1)).mean())


def _spread(probability: Tensor) -> float:
    return float((2 * probability * (1 - probability)).mean())


def _group_mean(group: Tensor, values: Tensor) -> Tensor:
    return group.bincount(values) / group.bincount().clamp(min=1)
