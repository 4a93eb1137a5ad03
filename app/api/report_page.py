"""The evaluation report of a version as one self-contained HTML page."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from app.api.reliability import reliability_svg
from models.core.manifest import Manifest
from models.core.report import calibration_summary

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1f2937;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}.note{color:#6b7280}.chosen{font-weight:600}
.warning{background:#fef3c7;padding:.6rem 1rem}.diagrams{display:flex;flex-wrap:wrap}.diagrams svg{width:22rem}
table{border-collapse:collapse}th,td{padding:.2rem .9rem .2rem 0;text-align:right;border-bottom:1px solid #e5e7eb}
th:first-child,td:first-child{text-align:left}
"""
COLUMNS = (
    ("accuracy", "accuracy"),
    ("NLL", "nll"),
    ("Brier", "brier"),
    ("ECE", "ece"),
    ("floor", "ece_floor"),
    ("ECE equal mass", "ece_mass"),
    ("floor", "ece_mass_floor"),
)
ROLES = {
    "report": "Evidence: rows that were not fitted",
    "shift": "Another distribution: what happens when your data differ",
    "fit": "Rows the calibrator was fitted on: no evidence",
}


def report_page(model: str, version: int, manifest: Manifest) -> str:
    """Warnings first, then for each precision and data set a diagram and the calibrators compared."""
    name = escape(f"{model} version {version}")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}: calibration report</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f"<h1>{name}: calibration report</h1>"
        f'<p class="note">Calibrator: {escape(manifest.calibrator or "none")}. Fitted on {escape(manifest.machine)},'
        f" howsure {escape(manifest.code_version)}. ECE with {_bins(manifest)} bins; its floor is what a perfectly"
        " calibrated model would read on as many rows. Less is better, except for accuracy.</p>"
        + "".join(_precision(manifest, precision) for precision in manifest.precisions)
        + "</html>\n"
    )


def _bins(manifest: Manifest) -> int:
    return int(manifest.report["evaluations"][0]["after"]["bins"])


def _precision(manifest: Manifest, precision: str) -> str:
    found = [each for each in manifest.report["evaluations"] if each["precision"] == precision]
    warnings = calibration_summary(manifest.report, precision)["warnings"]
    return (
        f"<h2>Served in {escape(precision)}</h2>"
        + "".join(f'<p class="warning">{escape(warning)}</p>' for warning in warnings)
        + '<div class="diagrams">'
        + "".join(reliability_svg(each) for each in found if each["role"] != "fit")
        + "</div>"
        + "".join(_evaluation(each) for each in found)
    )


def _evaluation(evaluation: Mapping[str, Any]) -> str:
    accuracy, nll = evaluation["after"]["accuracy"], evaluation["after"]["nll"]
    rows = [_row(name, found, name == evaluation["calibrator"]) for name, found in evaluation["compared"].items()]
    return (
        f"<h3>{escape(evaluation['data'])}: {evaluation['rows']} rows</h3>"
        f'<p class="note">{ROLES[evaluation["role"]]} ({escape(evaluation["note"])}). {accuracy["level"]:.0%} bootstrap'
        f" intervals: accuracy {_interval(accuracy)}, NLL {_interval(nll)}.</p>"
        f"<table><tr><th>calibrator</th>{_cells('th', (title for title, _ in COLUMNS))}</tr>{''.join(rows)}</table>"
    )


def _row(name: str, found: Mapping[str, float], chosen: bool) -> str:
    style = ' class="chosen"' if chosen else ""
    label = f"{name} (active)" if chosen else name
    return f"<tr{style}><td>{escape(label)}</td>{_cells('td', (f'{found[key]:.3f}' for _, key in COLUMNS))}</tr>"


def _cells(tag: str, texts: Iterable[str]) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)


def _interval(interval: Mapping[str, float]) -> str:
    return f"{interval['low']:.3f} to {interval['high']:.3f}"
