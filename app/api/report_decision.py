"""The parts of a report that say what was decided: whether the version may serve, and why this calibrator."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any


def gate_section(gate: Mapping[str, Any]) -> str:
    """`held`, `reasons` where it did not, and `limits` by name, as `models.training.gate` gives them."""
    verdict = "held: this version may serve" if gate["held"] else "did not hold: this version stays a candidate"
    limits = ", ".join(f"{name.replace('_', ' ')} {limit:g}" for name, limit in gate["limits"].items())
    style = "held" if gate["held"] else "refused"
    return (
        f'<section><h2>Promotion gate</h2><p class="{style}">The gate {verdict}.</p>'
        f"{_items(gate['reasons'])}"
        f'<p class="note">Compared with the version that was serving, on rows that were not fitted. Limits:'
        f" {escape(limits)}.</p></section>"
    )


def verdict(gate: Mapping[str, Any]) -> str:
    """Of the gate of one score or of tokens, with what it did not hold for and what it could not judge."""
    style, told = ("held", "held") if gate["held"] else ("refused", "did not hold")
    text = " ".join((f"Its gate {told}.", *(f"{line}." for line in (*gate["reasons"], *gate.get("unjudged", ())))))
    return f'<p class="{style}">{escape(text)}</p>'


def selection_section(selection: Mapping[str, Any]) -> str:
    """`chosen`, `reason`, the candidates in `table` and those `skipped`, as `models.training.select` gives them."""
    heads = "".join(f"<th>{head}</th>" for head in ("candidate", "NLL", "± error", "behind the best", "± error"))
    rows = "".join(_candidate(each, each["name"] == selection["chosen"]) for each in selection["table"])
    skipped = _items(f"{name} was skipped: {why}" for name, why in selection["skipped"].items())
    return (
        f"<section><h2>Choice of the calibrator</h2><p>{escape(selection['reason'])}</p>"
        '<p class="note">Cross-validated NLL in nats: each row is judged by a calibrator that was fitted without it.'
        " The errors are standard errors over rows.</p>"
        f'<div class="wide"><table><tr>{heads}</tr>{rows}</table></div>{skipped}</section>'
    )


def _candidate(candidate: Mapping[str, Any], chosen: bool) -> str:
    name = f"{candidate['name']} (chosen)" if chosen else candidate["name"]
    figures = (candidate[key] for key in ("nll", "standard_error", "behind", "behind_error"))
    cells = "".join(f"<td>{figure:.4f}</td>" for figure in figures)
    start = '<tr class="chosen">' if chosen else "<tr>"
    return f"{start}<td>{escape(name)}</td>{cells}</tr>"


def _items(lines: Iterable[str]) -> str:
    listed = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{listed}</ul>" if listed else ""
