"""How well a loss-rank head orders rows that it was not trained on, beside entropy and the head that served before."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import nll_loss

from models.core.outputs import ModelOutputs
from models.metrics.bootstrap import bootstrap_interval
from models.metrics.ranking import auroc, spearman
from models.metrics.retrieval import nearest_is_right
from models.metrics.selective import aurc
from models.training.head_curve import is_collapsed
from models.training.rescored import are_wrong
from models.uncertainty.entropy import Entropy
from models.uncertainty.loss_rank import LossRank
from models.uncertainty.max_prob import MaxProb

NEW, SERVING = LossRank.name, "serving"  # names of the two heads in a record
BASELINE = Entropy.name
BASELINES = (Entropy, MaxProb)
NO_INFORMATION = 0.5

Measure = Callable[[Tensor, Tensor], float]


@dataclass(frozen=True, slots=True)
class JudgedRows:
    """N rows that were not trained on, in one precision.

    `losses` (N,) are the task losses, `wrong` (N,) bool of what would be answered. `neighbour_right` (N,) bool is of
    the nearest other row, None where every row is alone in its class, or one has features of length 0. `scores` are
    (N,) by name, NEW among them.
    """

    losses: Tensor
    wrong: Tensor
    neighbour_right: Tensor | None
    scores: Mapping[str, Tensor]


def judged_rows(outputs: ModelOutputs, labels: Tensor, head: LossRank, serving: LossRank | None = None) -> JudgedRows:
    """Of outputs with features and calibrated logits; labels (N,) int64. `serving` is the head of the version before.

    Losses are those that a head is trained on: cross-entropy of the network's own logits.
    """
    heads = {NEW: head} | ({} if serving is None else {SERVING: serving})
    baselines = {each.name: each(head.dimensions) for each in BASELINES}
    features = outputs.require_features()
    alone = len(torch.unique(labels)) == len(labels) or bool((features.norm(dim=1) == 0).any())
    return JudgedRows(
        losses=nll_loss(outputs.log_probabilities(), labels, reduction="none"),
        wrong=are_wrong(outputs, labels),
        neighbour_right=None if alone else nearest_is_right(features, labels),
        scores={name: score.score(outputs).cpu() for name, score in (heads | baselines).items()},
    )


def loss_rank_record(judged: JudgedRows, precision: str, seed: int) -> dict[str, Any]:
    """Plain numbers, lists and dicts; None for what cannot be said of these rows."""
    right = judged.neighbour_right
    return {
        "precision": precision,
        "rows": len(judged.wrong),
        "wrong": int(judged.wrong.sum()),
        "constant": is_collapsed(judged.scores[NEW]),
        "recall_at_1": None if right is None else float(right.double().mean()),
        "scores": {name: _figures(score, judged, seed) for name, score in judged.scores.items()},
    }


def _figures(score: Tensor, judged: JudgedRows, seed: int) -> dict[str, Any]:
    right = judged.neighbour_right
    return {
        "spearman": _interval(_spearman, score, judged.losses, seed),
        "auroc": _interval(_auroc, score, judged.wrong, seed),
        "aurc": aurc(score, judged.wrong.float()),
        # Of rows drawn with replacement one would be the other's nearest, so the nearest are those of all rows.
        "r_auroc": None if right is None else _interval(_auroc, score, ~right, seed),
    }


def _interval(measure: Measure, score: Tensor, outcome: Tensor, seed: int) -> dict[str, float] | None:
    """None where the outcome is the same for all rows."""
    return None if _constant(outcome) else asdict(bootstrap_interval(measure, score, outcome, seed=seed))


# A bootstrap draw may have but one outcome though the rows have several, and a collapsed head but one value.
def _auroc(score: Tensor, flag: Tensor) -> float:
    return NO_INFORMATION if _constant(flag) else auroc(score, flag)


def _spearman(score: Tensor, losses: Tensor) -> float:
    return 0.0 if _constant(score) or _constant(losses) else spearman(score, losses)


def _constant(values: Tensor) -> bool:
    return torch.equal(values, values[:1].expand_as(values))
