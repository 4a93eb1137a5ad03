"""The part of a report on free answers: the temperature of their tokens, and what it does to them."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from app.api.report_decision import verdict
from app.api.report_tables import notes_of, plain_rows, table

HEADS = ("tokens of", "tokens", "state", "accuracy", "mean confidence", "NLL (nats)", "ECE", "· noise floor")


def tokens_section(found: Mapping[str, Any]) -> str:
    """`found` is the part of a report that `with_token_temperatures` writes."""
    records = found["evaluations"]
    rows = (row for record in records for row in plain_rows(record, "tokens"))
    return (
        f"<section><h2>Tokens of free answers</h2>{verdict(found['gate'])}<p>{escape(_temperatures(records))}</p>"
        f"{table(HEADS, rows)}"
        '<p class="note">A token of a reference answer is right where it is the likeliest one after all that stand'
        " before it. Tokens of one answer depend on each other: trust differences less than so many rows would"
        f" allow. {notes_of(records)}</p></section>"
    )


def _temperatures(records: Iterable[Mapping[str, Any]]) -> str:
    found = {record["precision"]: record["temperature"] for record in records}
    return " ".join(f"Temperature in {precision}: {value:.3f}." for precision, value in found.items())
