"""How well an epistemic score tells wrongly from rightly classified rows, beside the score that served before it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from models.metrics.bootstrap import bootstrap_interval
from models.metrics.ranking import auroc, spearman
from models.metrics.selective import aurc

NEW, SERVING = "epistemic", "serving"  # names of the two epistemic scores in a record
PARTS = 10  # of the percentile
NO_INFORMATION = 0.5


@dataclass(frozen=True, slots=True)
class Judged:
    """N rows that were not fitted on, in one precision.

    `scores` are (N,) by name, NEW among them, and SERVING where the base version has an epistemic score, of the form
    `serving_form`. `percentile` (N,) is that of NEW. `exact` are the fast and the exact form of other rows.
    """

    wrong: Tensor  # (N,) bool
    scores: Mapping[str, Tensor]
    percentile: Tensor
    last_layer: Tensor
    serving_form: str | None
    exact: tuple[Tensor, Tensor] | None


def epistemic_record(judged: Judged, precision: str, seed: int) -> dict[str, Any]:
    """Plain numbers, lists and dicts; None for what cannot be said of these rows."""
    new = judged.scores[NEW]
    return {
        "precision": precision,
        "rows": len(judged.wrong),
        "wrong": int(judged.wrong.sum()),
        "constant": _constant(new),
        "serving_form": judged.serving_form,
        "scores": {name: _figures(score, judged.wrong, seed) for name, score in judged.scores.items()},
        "spearman": {
            "last_layer": _spearman(new, judged.last_layer),
            "exact": None if judged.exact is None else _spearman(*judged.exact),
            "exact_rows": 0 if judged.exact is None else len(judged.exact[0]),
        },
        "parts": _by_percentile(judged.percentile, judged.wrong),
    }


def _figures(score: Tensor, wrong: Tensor, seed: int) -> dict[str, Any]:
    both = bool(wrong.any()) and not bool(wrong.all())
    interval = asdict(bootstrap_interval(_auroc, score, wrong, seed=seed)) if both else None
    return {"auroc": interval, "aurc": aurc(score, wrong.float())}


def _auroc(score: Tensor, wrong: Tensor) -> float:
    # A bootstrap draw of few wrong rows may hold none of them.
    return NO_INFORMATION if wrong.all() or not wrong.any() else auroc(score, wrong)


def _spearman(one: Tensor, other: Tensor) -> float | None:
    return None if _constant(one) or _constant(other) else spearman(one, other)


def _constant(score: Tensor) -> bool:
    return bool((score == score[0]).all())


def _by_percentile(percentile: Tensor, wrong: Tensor) -> list[dict[str, Any]]:
    part = (percentile * PARTS).long().clamp_max(PARTS - 1)
    rows = part.bincount(minlength=PARTS).tolist()
    right = part[~wrong].bincount(minlength=PARTS).tolist()
    return [
        {
            "from": place / PARTS,
            "to": (place + 1) / PARTS,
            "rows": rows[place],
            "accuracy": right[place] / rows[place] if rows[place] else None,
        }
        for place in range(PARTS)
    ]
