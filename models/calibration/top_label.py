"""What isotonic, histogram and beta calibration share: they map the confidence of the predicted label and nothing else.

With p the probability of the predicted label and g its new one, the other classes share 1 - g in their old proportions.
In logits that is one number a row: the others stay, and the label's becomes logsumexp(others) + log(g / (1 - g)).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.core.outputs import ModelOutputs

LARGEST_LOG_ODDS = 36.0  # 1 - 2e-16, where float64 has no more digits before 1


@dataclass(frozen=True, slots=True)
class TopLabel:
    """The most probable class of N items; log-odds keep the digits that a confidence near 1 has lost."""

    index: Tensor  # (N,) int64
    log_odds: Tensor  # (N,) float64, log(p / (1 - p)), at most 36 in size; higher is more confident
    others: Tensor  # (N,) float64, logsumexp of the other logits; -infinity where an item has one choice only
    runner_up: Tensor  # (N,) float32, the largest of the other logits


def top_label(outputs: ModelOutputs) -> TopLabel:
    """The predicted labels by the network's own logits; of equal logits the first wins. Absent choices are left out."""
    present = outputs.masked(outputs.logits)
    largest, index = present.max(dim=1)
    rest = present.scatter(1, index[:, None], -torch.inf)
    others = rest.double().logsumexp(dim=1)
    log_odds = (largest.double() - others).clamp(-LARGEST_LOG_ODDS, LARGEST_LOG_ODDS)
    return TopLabel(index, log_odds, others, rest.amax(dim=1))


def with_log_odds(outputs: ModelOutputs, top: TopLabel, log_odds: Tensor) -> ModelOutputs:
    """`outputs` with confidence sigmoid(log_odds), `log_odds` (N,) finite, in the labels of `top`.

    A confidence that would let the runner-up overtake becomes the lowest that does not: the label never changes. An
    item with one choice keeps probability 1. Absent choices get logit 0, which their mask hides.
    """
    wished = (top.others + log_odds).float()
    lowest = torch.nextafter(top.runner_up, torch.full_like(top.runner_up, torch.inf))
    own = outputs.logits.gather(1, top.index[:, None])[:, 0]
    chosen = torch.where(top.others.isfinite(), torch.maximum(wished, lowest), own)
    logits = outputs.logits if outputs.mask is None else outputs.logits.masked_fill(~outputs.mask, 0)
    return outputs.with_calibrated(logits.scatter(1, top.index[:, None], chosen[:, None]))


def bounded_log_odds(probabilities: Tensor, rows: Tensor | int) -> Tensor:
    """log(g / (1 - g)) of accuracies g seen on `rows` rows, kept in [1/(rows + 2), (rows + 1)/(rows + 2)].

    These are what Laplace's rule of succession says after none and after only right answers: rows that were all right
    do not prove that the next one will be, and log 0 would make one surprise cost everything. Float64.
    """
    limit = torch.as_tensor(rows, dtype=torch.float64, device=probabilities.device).add(1).log()
    return torch.logit(probabilities.double()).clamp(-limit, limit)
