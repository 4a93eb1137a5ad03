"""Reading a version's evaluation report: what a person or a model card needs to know first."""

from collections.abc import Mapping
from typing import Any

METRICS = ("accuracy", "nll", "brier", "ece", "ece_floor", "ece_mass", "ece_mass_floor")


def calibration_summary(report: Mapping[str, Any], precision: str) -> dict[str, Any]:
    """Before and after calibration on data that was not fitted, in the served precision, and warnings where it hurt.

    `floor` figures are the ECE that a perfectly calibrated model would read on as many rows.
    """
    evaluations = [
        evaluation
        for evaluation in report["evaluations"]
        if evaluation["precision"] == precision and evaluation["role"] != "fit"
    ]
    return {
        "precision": precision,
        "evaluations": [_short(evaluation) for evaluation in evaluations],
        "warnings": [
            *(_warning(evaluation) for evaluation in evaluations if harmed(evaluation)),
            *version_warnings(report),
        ],
    }


def version_warnings(report: Mapping[str, Any]) -> list[str]:
    """What nobody judged, or what was kept unproven, whatever the precision."""
    return [*report.get("unjudged", []), *_never(report), *_unproven(report)]


def harmed(evaluation: Mapping[str, Any]) -> bool:
    """Whether calibration made ECE worse, by more than its noise floor."""
    before, after = (evaluation[when] for when in ("before", "after"))
    above = [max(0.0, found["ece"] - found["ece_floor"]) for found in (before, after)]
    return bool(after["ece"] > before["ece"] and above[1] > above[0])


def _short(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: evaluation[name] for name in ("data", "role", "rows", "note", "calibrator")}
    return kept | {when: _metrics(evaluation[when]) for when in ("before", "after")}


def _metrics(evaluation: Mapping[str, Any]) -> dict[str, float]:
    return {name: _number(evaluation[name]) for name in METRICS}


def _number(value: Any) -> float:
    return float(value["value"]) if isinstance(value, Mapping) else float(value)


def _never(report: Mapping[str, Any]) -> list[str]:
    if report["evaluations"]:
        return []
    what = "On choices this version" if "tokens" in report else "This version"
    return [f"{what} was never calibrated or judged: its confidence is the network's own. Calibrate it on your data."]


def _unproven(report: Mapping[str, Any]) -> list[str]:
    """What was kept although it did not do better than what is there without it."""
    gates = {name: report.get(name, {}).get("gate", {"held": True}) for name in ("loss_rank", "few_shot")}
    refused = {name: gate["reasons"] for name, gate in gates.items() if not gate["held"]}
    return [f"{name} is unproven here: {'; '.join(reasons)}" for name, reasons in refused.items()]


def _warning(evaluation: Mapping[str, Any]) -> str:
    before, after = evaluation["before"], evaluation["after"]
    return (
        f"On {evaluation['data']} ({evaluation['note']}) calibration made ECE worse: {before['ece']:.3f} before,"
        f" {after['ece']:.3f} after (noise floor {after['ece_floor']:.3f}, {evaluation['rows']} rows)."
        " Recalibrate on your own data before you trust the confidence there."
    )
