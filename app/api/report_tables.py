"""The tables of a report: every measure before and after, the calibrators compared, and the worst classes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from app.api.diagram import LABELS

# Title and name of each measure; a dot leads into a measure that has parts.
MEASURES = (
    ("accuracy", "accuracy"),
    ("mean confidence", "mean_confidence"),
    ("NLL (nats)", "nll"),
    ("Brier", "brier"),
    ("ECE, equal width", "ece"),
    ("· noise floor", "ece_floor"),
    ("· debiased", "ece_debiased"),
    ("ECE, equal mass", "ece_mass"),
    ("· noise floor", "ece_mass_floor"),
    ("· debiased", "ece_mass_debiased"),
    ("smooth ECE", "smooth_ece"),
    ("MCE", "mce"),
    ("AURC", "aurc"),
    ("AUSE, error: wrong or right", "ause"),
    ("AUSE, error: NLL", "ause_nll"),
    ("AUROC of being wrong", "error_auroc"),
    ("coverage at 5 % risk", "coverage_at_5_risk"),
    ("grouping loss, at least", "grouping_loss"),
    ("local calibration error, mean", "local_calibration_error.mean"),
    ("· noise floor", "local_calibration_error.mean_floor"),
    ("local calibration error, largest", "local_calibration_error.maximum"),
    ("· noise floor", "local_calibration_error.maximum_floor"),
)
MISSING = "-"
PLAIN = ("accuracy", "confidence", "nll", "ece", "ece_floor")  # figures of a record without intervals
ROLES = {"report": "", "fit": " (fitted on: no evidence)"}


def measures_table(evaluation: Mapping[str, Any]) -> str:
    """A column for each of before, serving then and after; intervals stand under their value."""
    return _measures({label: evaluation[when] for when, label in LABELS.items() if when in evaluation})


def compared_table(compared: Mapping[str, Mapping[str, Any]], chosen: str) -> str:
    """A column for each calibrator that was tried, without intervals."""
    return _measures({f"{name} (chosen)" if name == chosen else name: found for name, found in compared.items()})


def worst_classes_table(found: Mapping[str, Any], classes: Sequence[str]) -> str:
    """The classes whose confidence is furthest off; `classes` are their names, empty where they are not known."""
    if not found["worst_classes"]:
        return '<p class="note">No class stands out: the gaps between classes are no larger than chance makes them.</p>'
    rows = (
        table_row(
            [
                escape(classes[each["class_index"]] if classes else f"class {each['class_index']}"),
                str(each["count"]),
                *(f"{each[name]:.3f}" for name in ("confidence", "accuracy", "ece")),
                f"{each['gap']:+.3f}",
            ]
        )
        for each in found["worst_classes"]
    )
    return table(["predicted class", "rows", "confidence", "share right", "ECE", "gap, shrunk"], rows)


def plain_rows(record: Mapping[str, Any], counted: str) -> Iterator[str]:
    """A row for each of before, serving then and after, whose `PLAIN` figures are numbers; `counted` names how many
    there were of what."""
    name = f"{record['data']}, {record['precision']}{ROLES[record['role']]}"
    for when, title in LABELS.items():
        figures = record[when]
        cells = (f"{figures[figure]:.3f}" for figure in PLAIN)
        yield table_row([escape(name), str(figures[counted]), title, *cells])


def notes_of(records: Iterable[Mapping[str, Any]]) -> str:
    """How far to trust the figures that are evidence, as HTML."""
    notes = dict.fromkeys(f"{record['data']}: {record['note']}." for record in records if record["role"] == "report")
    return escape(" ".join(notes))


def table(heads: Iterable[str], rows: Iterable[str]) -> str:
    """`rows` are HTML as `table_row` gives it."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def table_row(cells: Iterable[str]) -> str:
    """`cells` are HTML."""
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _measures(columns: Mapping[str, Mapping[str, Any]]) -> str:
    rows = (
        table_row([escape(title), *(_figure(found, name) for found in columns.values())])
        for title, name in MEASURES
        if any(_value(found, name) is not None for found in columns.values())
    )
    return table(["measure", *columns], rows)


def _figure(found: Mapping[str, Any], name: str) -> str:
    value = _value(found, name)
    if value is None:
        return MISSING
    whole = found.get(name)
    interval = whole if isinstance(whole, Mapping) else found.get("intervals", {}).get(name)
    ends = f"<br><small>{interval['low']:.3f} to {interval['high']:.3f}</small>" if interval else ""
    return f"{value:.3f}{ends}"


def _value(found: Mapping[str, Any], name: str) -> float | None:
    """None where a report has no such measure: older reports have fewer, and some need features or errors."""
    value: Any = found
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, Mapping):
        value = value["value"]
    return None if value is None else float(value)
