"""The part of a report on slices: what a few-shot recalibrator does to confidence, in all and slice by slice."""

from collections.abc import Mapping
from html import escape
from typing import Any

from app.api.diagram import LABELS
from app.api.report_decision import verdict
from app.api.report_tables import notes_of, plain_rows, table, table_row

HEADS = ("rows of", "rows", "state", "accuracy", "mean confidence", "NLL of being right (nats)", "ECE", "· noise floor")
COMPARED = {"confidence": "mean confidence", "nll": "NLL"}  # of a slice
OF_A_SLICE = (
    "slice",
    "rows",
    "accuracy",
    *(f"{name}, {label}" for name in COMPARED.values() for label in LABELS.values()),
)


def few_shot_section(found: Mapping[str, Any]) -> str:
    """`found` is the part of a report that `with_recalibrators` writes."""
    records, shown = found["evaluations"], found["plan"]["shown"]
    rows = (row for record in records for row in plain_rows(record, "rows"))
    slices = "".join(_slices(record) for record in records if record["role"] == "report")
    return (
        f"<section><h2>Few-shot recalibration of slices</h2>{verdict(found['gate'])}{table(HEADS, rows)}"
        f'<p class="note">A slice is a task: {shown} of its rows are read without their labels, the others are judged.'
        " Before is the confidence of the calibrator; it is what an item has outside of a slice, and after too."
        f" {notes_of(records)}</p>{slices}</section>"
    )


def _slices(record: Mapping[str, Any]) -> str:
    rows = (_slice(found) for found in record["slices"])
    return f"<h4>Slices of {escape(record['data'])}, {escape(record['precision'])}</h4>{table(OF_A_SLICE, rows)}"


def _slice(found: Mapping[str, Any]) -> str:
    whole = found["after"]
    cells = (f"{found[when][figure]:.3f}" for figure in COMPARED for when in LABELS)
    return table_row([escape(found["slice"]), str(whole["rows"]), f"{whole['accuracy']:.3f}", *cells])
