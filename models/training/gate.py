"""The promotion gate: whether a new version may serve, against the one that does, on rows it was not fitted on."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Gate:
    """What a candidate may lose against the serving version; all are absolute, accuracy as a share of 1."""

    max_nll_increase: float = 0.0
    max_ece_increase: float = 0.0
    max_accuracy_drop: float = 0.01

    def judge(self, evaluations: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """`held`, and why not; of every evaluation of role `report`, which has the measures `active` and `after`.

        Every precision has to pass: any of them may be the one that is served.
        """
        judged = [evaluation for evaluation in evaluations if evaluation["role"] == "report"]
        if not judged:
            raise ValueError("the gate needs an evaluation on rows that were not fitted")
        reasons = [reason for evaluation in judged for reason in self._complaints(evaluation)]
        return {"held": not reasons, "reasons": reasons, "limits": asdict(self)}

    def _complaints(self, evaluation: Mapping[str, Any]) -> list[str]:
        serving, candidate = evaluation["active"], evaluation["after"]
        compared = (
            ("NLL", serving["nll"]["value"], candidate["nll"]["value"], self.max_nll_increase),
            ("ECE", serving["ece"], candidate["ece"], self.max_ece_increase),
            # Accuracy is the one that may not fall.
            (
                "error rate",
                1 - serving["accuracy"]["value"],
                1 - candidate["accuracy"]["value"],
                self.max_accuracy_drop,
            ),
        )
        where = f"in {evaluation['precision']} on {evaluation['rows']} rows of {evaluation['data']}"
        return [
            f"{name} {where} would go from {before:.4f} to {after:.4f}, over the limit of +{allowed:g}"
            for name, before, after, allowed in compared
            if after - before > allowed + ROUNDING
        ]


def of_plain_figures(record: Mapping[str, Any]) -> dict[str, Any]:
    """What `Gate.judge` reads, out of a record whose measures are numbers without intervals."""
    figures = {
        when: {
            "nll": {"value": record[when]["nll"]},
            "ece": record[when]["ece"],
            "accuracy": {"value": record[when]["accuracy"]},
        }
        for when in ("active", "after")
    }
    return {**record, **figures}
