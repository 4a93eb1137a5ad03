"""The part of a report on the epistemic score: whether it is high where the model is wrong, and how it was fitted."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from app.api.report_decision import verdict
from app.api.report_tables import MISSING, table, table_row

TITLES = {
    "epistemic": "epistemic, this version",
    "serving": "epistemic, serving then",
    "max_prob": "1 - max probability",
    "entropy": "entropy",
}


def epistemic_section(epistemic: Mapping[str, Any]) -> str:
    """`plan`, `decay`, `data`, `chosen`, `gate` and a record for each of `precisions`, as the job left them."""
    gate, plan, data = epistemic["gate"], epistemic["plan"], epistemic["data"]
    noise = f", {plan['perturbations']} noisy copies of deviation {plan['sigma']:g}" if plan["perturbations"] else ""
    passes = f"{plan['directions']} backward pass{'es' if plan['directions'] > 1 else ''}"
    how = (
        f"The last {plan['depth']} layers by {passes} an input{noise}, decay {epistemic['decay']:g}. Reference:"
        f" {data['rows']} rows of {data['name']}. Judged on {epistemic['note']}."
    )
    return (
        f'<section><h2>Epistemic score</h2><p class="note">{escape(how)}</p>{verdict(gate)}'
        + "".join(map(_precision, epistemic["precisions"]))
        + (_trials(epistemic["chosen"], epistemic) if epistemic["chosen"] else "")
        + "</section>"
    )


def _precision(record: Mapping[str, Any]) -> str:
    scores = record["scores"]
    rows = (table_row([title, *_figures(scores[name])]) for name, title in TITLES.items() if name in scores)
    spearman = record["spearman"]
    agreement = (
        f"Rank correlation of the fast form with that of the last layer {_number(spearman['last_layer'])}"
        + (
            f", with the exact form {_number(spearman['exact'])} on {spearman['exact_rows']} fitted rows"
            if spearman["exact_rows"]
            else ""
        )
        + "."
    )
    return (
        f"<h3>Epistemic score in {escape(record['precision'])}: {record['rows']} rows, {record['wrong']} wrong</h3>"
        f"{table(['score', 'AUROC of being wrong', 'AURC'], rows)}"
        '<p class="note">The gate compares with the epistemic score that served before. Where max probability or'
        " entropy is higher, they find errors on such data better; this score is for inputs of another kind.</p>"
        f'<p class="note">{agreement}</p>{_parts(record["parts"])}'
    )


def _figures(found: Mapping[str, Any]) -> Iterable[str]:
    auroc = found["auroc"]
    ends = f"<br><small>{auroc['low']:.3f} to {auroc['high']:.3f}</small>" if auroc else ""
    return f"{_number(auroc and auroc['value'])}{ends}", _number(found["aurc"])


def _parts(parts: Iterable[Mapping[str, Any]]) -> str:
    rows = (
        table_row([f"{part['from']:.1f} to {part['to']:.1f}", str(part["rows"]), _number(part["accuracy"])])
        for part in parts
    )
    note = '<p class="note">Accuracy should fall as the percentile of the epistemic score grows.</p>'
    return note + table(["percentile", "rows", "accuracy"], rows)


def _trials(chosen: Mapping[str, Any], epistemic: Mapping[str, Any]) -> str:
    rows = (_trial(trial, epistemic) for trial in chosen["trials"])
    note = f"On the {chosen['rows']} fitted rows, in {chosen['by']}; of equals the nearest to the default."
    return f'<h3>Choice of decay and sigma</h3><p class="note">{escape(note)}</p>' + table(
        ["decay", "sigma", "AUROC of being wrong"], rows
    )


def _trial(trial: Mapping[str, Any], epistemic: Mapping[str, Any]) -> str:
    won = (trial["decay"], trial["sigma"]) == (epistemic["decay"], epistemic["plan"]["sigma"])
    return table_row(
        [f"{trial['decay']:g}{' (chosen)' if won else ''}", f"{trial['sigma']:g}", f"{trial['auroc']:.4f}"]
    )


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3f}"
