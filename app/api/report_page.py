"""An evaluation report as one self-contained HTML page: of a published version, or of a job that only evaluated."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from app.api.reliability import reliability_svg
from app.api.report_decision import gate_section, selection_section
from app.api.report_epistemic import epistemic_section
from app.api.report_few_shot import few_shot_section
from app.api.report_layers import layers_section
from app.api.report_loss_rank import loss_rank_section
from app.api.report_mac_cal import mac_cal_section
from app.api.report_tables import compared_table, measures_table, worst_classes_table
from app.api.report_tokens import tokens_section
from app.api.report_training import training_section
from app.api.risk_coverage import risk_coverage_svg
from models.core.manifest import Manifest
from models.core.report import calibration_summary, version_warnings

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:1.5rem auto;padding:0 1rem;color:#1f2937;background:#fff}
h1{font-size:1.5rem;overflow-wrap:anywhere}h2{font-size:1.2rem;margin-top:2rem}h3{overflow-wrap:anywhere}
h4{margin:1.2rem 0 .3rem}.note{color:#6b7280}.chosen{font-weight:600}
.warning,.held,.refused{padding:.6rem 1rem}.warning{background:#fef3c7}
.held{background:#d1fae5}.refused{background:#fee2e2}
.diagrams{display:flex;flex-wrap:wrap;gap:1rem;align-items:flex-end}.diagrams svg{flex:1 1 18rem;max-width:24rem}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.2rem .9rem .2rem 0;text-align:right;vertical-align:top;border-bottom:1px solid #e5e7eb}
th,td{white-space:nowrap}small{color:#6b7280}
th:first-child,td:first-child{text-align:left;white-space:normal;min-width:6.5rem;position:sticky;left:0;background:#fff}
@media(max-width:30rem){th,td{padding-right:.5rem}th{white-space:normal}
small{display:inline-block;white-space:normal;width:3.4rem}}
"""
ROLES = {
    "report": "Evidence: rows that were not fitted",
    "shift": "Another distribution: what happens when your data differ",
    "fit": "Rows the calibrator was fitted on: no evidence",
}
LEGEND = (
    "Less is better, except for accuracy, coverage and AUROC. The noise floor of an ECE is what a perfectly calibrated"
    " model would read on as many rows; the debiased value is the ECE less what such noise adds. AURC: mean share of"
    " wrong answers over all coverages; AUSE: how much of that is due to a wrong order of the rows. Grouping loss: how"
    " much single probabilities still differ among rows of one confidence; local calibration error: miscalibration"
    " among rows that look alike. The worst classes are by |confidence - share right| of the predicted class, drawn"
    " towards 0 where the rows are few; a gap above 0 means too sure. A dash: not measured."
)


def version_report_page(model: str, version: int, manifest: Manifest, served: str | None = None) -> str:
    """The report that was published with a version, from the precision that it is `served` in here to the others."""
    notes = (
        f"Calibrator: {manifest.calibrator or 'none'}.",
        f"Made on {manifest.machine}, howsure {manifest.code_version}.",
    )
    return report_page(
        f"{model} version {version}: calibration report",
        sorted(manifest.report["evaluations"], key=lambda each: each["precision"] != served),
        warnings=version_warnings(manifest.report),
        notes=notes,
        classes=manifest.classes,
        gate=manifest.report.get("gate"),
        selection=manifest.report.get("selection"),
        epistemic=manifest.report.get("epistemic"),
        loss_rank=manifest.report.get("loss_rank"),
        training=manifest.report.get("training"),
        fitting=manifest.report.get("fitting"),
        layers=manifest.report.get("layers"),
        tokens=manifest.report.get("tokens"),
        few_shot=manifest.report.get("few_shot"),
    )


def report_page(
    title: str,
    evaluations: Sequence[Mapping[str, Any]],
    *,
    warnings: Iterable[str] = (),
    notes: Iterable[str] = (),
    classes: Sequence[str] = (),
    gate: Mapping[str, Any] | None = None,
    selection: Mapping[str, Any] | None = None,
    epistemic: Mapping[str, Any] | None = None,
    loss_rank: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    fitting: Mapping[str, Any] | None = None,
    layers: Mapping[str, Any] | None = None,
    tokens: Mapping[str, Any] | None = None,
    few_shot: Mapping[str, Any] | None = None,
) -> str:
    """Warnings first, then what was decided, then each precision and data set. Everything given is escaped."""
    precisions = list(dict.fromkeys(each["precision"] for each in evaluations))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style><h1>{escape(title)}</h1>'
        + "".join(_warning(warning) for warning in warnings)
        + "".join(_warnings(evaluations, precision) for precision in precisions)
        + f'<p class="note">{escape(" ".join((*notes, *_method(evaluations, bool(tokens or few_shot)))))}</p>'
        + (gate_section(gate) if gate else "")
        + (selection_section(selection) if selection else "")
        + (mac_cal_section(fitting) if fitting else "")
        + (layers_section(layers) if layers else "")
        + (few_shot_section(few_shot) if few_shot else "")
        + (tokens_section(tokens) if tokens else "")
        + (training_section(training) if training else "")
        + (epistemic_section(epistemic) if epistemic else "")
        + (loss_rank_section(loss_rank) if loss_rank else "")
        + "".join(_precision(evaluations, precision, classes) for precision in precisions)
        + f'<h2>How to read it</h2><p class="note">{LEGEND}</p></html>\n'
    )


def _warnings(evaluations: Sequence[Mapping[str, Any]], precision: str) -> str:
    warnings = calibration_summary({"evaluations": evaluations}, precision)["warnings"]
    return "".join(_warning(f"In {precision}: {warning}") for warning in warnings)


def _warning(text: str) -> str:
    return f'<p class="warning">{escape(text)}</p>'


def _method(evaluations: Sequence[Mapping[str, Any]], more: bool) -> Iterator[str]:
    """`more`: something else was evaluated, which has a section of its own."""
    if evaluations:
        after = evaluations[0]["after"]
        level = after["accuracy"]["level"]
        yield f"Binned measures use {after['bins']} bins. Ranges are {level:.0%} bootstrap intervals."
    elif not more:
        yield "Nothing was evaluated."


def _precision(evaluations: Iterable[Mapping[str, Any]], precision: str, classes: Sequence[str]) -> str:
    found = [each for each in evaluations if each["precision"] == precision]
    return f"<h2>Served in {escape(precision)}</h2>" + "".join(_evaluation(each, classes) for each in found)


def _evaluation(evaluation: Mapping[str, Any], classes: Sequence[str]) -> str:
    after, role = evaluation["after"], evaluation["role"]
    compared = evaluation.get("compared")
    return (
        f"<h3>{escape(evaluation['data'])}: {evaluation['rows']} rows</h3>"
        f'<p class="note">{escape(ROLES.get(role, role))} ({escape(evaluation["note"])}).</p>'
        f'<div class="diagrams">{_diagrams(evaluation)}</div>'
        f"<h4>Every measure</h4>{measures_table(evaluation)}"
        + (f"<h4>Calibrators compared</h4>{compared_table(compared, evaluation['calibrator'])}" if compared else "")
        + (f"<h4>Worst classes, after</h4>{worst_classes_table(after, classes)}" if "worst_classes" in after else "")
    )


def _diagrams(evaluation: Mapping[str, Any]) -> str:
    curves = risk_coverage_svg(evaluation) if "risk_coverage" in evaluation["after"] else ""
    return reliability_svg(evaluation) + curves
