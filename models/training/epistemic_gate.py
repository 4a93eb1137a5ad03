"""The promotion gate of a new epistemic score, against the one that serves, on rows that were not fitted on."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from models.training.epistemic_report import NEW, SERVING

ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class EpistemicGate:
    """What a candidate may lose of the AUROC of being wrong; absolute."""

    max_auroc_drop: float = 0.02

    def judge(self, records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """`held`, why not, and what could not be judged; every precision has to pass. See `epistemic_record`."""
        records = tuple(records)
        reasons = [reason for record in records for reason in self._complaints(record)]
        unjudged = [note for record in records for note in _unjudged(record)]
        return {"held": not reasons, "reasons": reasons, "unjudged": unjudged, "limits": asdict(self)}

    def _complaints(self, record: Mapping[str, Any]) -> list[str]:
        where = f"in {record['precision']} on {record['rows']} rows"
        if record["constant"]:
            return [f"the epistemic score {where} is the same for all"]
        before, after = (_auroc(record, name) for name in (SERVING, NEW))
        if before is None or after is None or before - after <= self.max_auroc_drop + ROUNDING:
            return []
        return [
            f"AUROC of being wrong {where} would go from {before:.4f} to {after:.4f},"
            f" over the limit of -{self.max_auroc_drop:g}"
        ]


def _unjudged(record: Mapping[str, Any]) -> list[str]:
    where = f"in {record['precision']} on {record['rows']} rows"
    if record["wrong"] in (0, record["rows"]):
        which = "wrong" if record["wrong"] else "right"
        return [f"no AUROC {where}: all of them are {which}"]
    if SERVING not in record["scores"]:
        return [f"nothing to compare with {where}: the version before has no epistemic score"]
    return []


def _auroc(record: Mapping[str, Any], name: str) -> float | None:
    found = record["scores"].get(name, {}).get("auroc")
    return None if found is None else float(found["value"])
