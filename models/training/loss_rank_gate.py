"""The promotion gate of a loss-rank head: it has to beat the entropy of the answers, on rows it was not trained on."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from models.training.loss_rank_report import BASELINE, NEW

ROUNDING = 1e-9
MEANINGS = {
    "spearman": "Spearman's correlation with the loss",
    "auroc": "AUROC of being wrong",
    "r_auroc": "R-AUROC",
}


@dataclass(frozen=True, slots=True)
class LossRankGate:
    """By how much a head has to be better than entropy on `measure`: by more than `min_gain`, absolute."""

    measure: Literal["spearman", "auroc", "r_auroc"]
    min_gain: float = 0.0

    def __post_init__(self) -> None:
        if self.measure not in MEANINGS:
            raise ValueError(f"measure must be one of {', '.join(MEANINGS)}, got {self.measure!r}")

    def judge(self, records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """`held`, and why not; every precision has to pass, and rows without the measure show nothing.

        See `loss_rank_record`.
        """
        reasons = [reason for record in records for reason in self._complaints(record)]
        return {"held": not reasons, "reasons": reasons, "limits": asdict(self)}

    def _complaints(self, record: Mapping[str, Any]) -> list[str]:
        if record["constant"]:
            return [f"the head has collapsed: loss_rank {_where(record)} is the same for all"]
        head, baseline = (self._value(record, name) for name in (NEW, BASELINE))
        if head is None or baseline is None:
            return [
                f"no {MEANINGS[self.measure]} {_where(record)}: {_why(self.measure, record)}; judge by another measure"
            ]
        if head - baseline > self.min_gain + ROUNDING:
            return []
        return [
            f"{MEANINGS[self.measure]} {_where(record)} is {head:.4f} of loss_rank and {baseline:.4f} of entropy,"
            f" not a gain of more than {self.min_gain:g}"
        ]

    def _value(self, record: Mapping[str, Any], name: str) -> float | None:
        found = record["scores"][name][self.measure]
        return None if found is None else float(found["value"])


def _where(record: Mapping[str, Any]) -> str:
    return f"in {record['precision']} on {record['rows']} rows"


def _why(measure: str, record: Mapping[str, Any]) -> str:
    """Why the rows do not have the measure."""
    if measure == "spearman":
        return "all of them have the same loss"
    if measure == "auroc":
        return f"all of them are {'wrong' if record['wrong'] else 'right'}"
    recall = record["recall_at_1"]
    if recall is None:
        return "each is alone in its class, or one has features of length 0"
    return f"of {'all' if recall else 'none'} the nearest has the same class"
