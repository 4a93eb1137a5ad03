"""The part of a report on free answers: the temperature of their tokens, and what it does to them."""

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

from app.api.diagram import LABELS
from app.api.report_tables import table, table_row

FIGURES = {"accuracy": "accuracy", "confidence": "mean confidence", "nll": "NLL (nats)", "ece": "ECE"}
ROLES = {"report": "", "fit": " (fitted on: no evidence)"}


def tokens_section(found: Mapping[str, Any]) -> str:
    """`found` is the part of a report that `with_token_temperatures` writes."""
    heads = ["tokens of", "temperature", "tokens", *(f"{name}, {when}" for when, name in _columns())]
    return (
        f"<section><h2>Tokens of free answers</h2>{_verdict(found['gate'])}"
        f"{table(heads, map(_row, found['evaluations']))}"
        '<p class="note">A token of a reference answer is right where it is the likeliest one after all that stand'
        " before it. Tokens of one answer depend on each other: trust differences less than so many rows would"
        f" allow. {escape(_notes(found['evaluations']))}</p></section>"
    )


def _columns() -> Iterator[tuple[str, str]]:
    return ((when, name) for name in FIGURES.values() for when in LABELS.values())


def _row(record: Mapping[str, Any]) -> str:
    name = f"{record['data']}, {record['precision']}{ROLES[record['role']]}"
    figures = (f"{record[when][figure]:.3f}" for figure in FIGURES for when in LABELS)
    return table_row([escape(name), f"{record['temperature']:.3f}", str(record["after"]["tokens"]), *figures])


def _verdict(gate: Mapping[str, Any]) -> str:
    style, told = ("held", "held") if gate["held"] else ("refused", "did not hold")
    text = " ".join((f"Its gate {told}.", *(f"{line}." for line in gate["reasons"])))
    return f'<p class="{style}">{escape(text)}</p>'


def _notes(records: Iterable[Mapping[str, Any]]) -> str:
    notes = dict.fromkeys(f"{record['data']}: {record['note']}." for record in records if record["role"] == "report")
    return " ".join(notes)
