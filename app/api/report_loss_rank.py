"""The part of a report on the loss-rank head: whether it orders inputs better than entropy, and how it was trained."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from app.api.report_decision import verdict
from app.api.report_tables import MISSING, table, table_row

TITLES = {
    "loss_rank": "loss rank, this version",
    "serving": "loss rank, serving then",
    "entropy": "entropy",
    "max_prob": "1 - max probability",
}
MEASURES = {
    "spearman": "Spearman with the loss",
    "auroc": "AUROC of being wrong",
    "r_auroc": "R-AUROC",
}


def loss_rank_section(found: Mapping[str, Any]) -> str:
    """`data`, `views`, `width`, `depth`, `curve`, `best`, `gate` and a record for each of `precisions`."""
    return (
        f'<section><h2>Loss rank</h2><p class="note">{escape(_how(found))}</p>{verdict(found["gate"])}'
        + "".join(map(_precision, found["precisions"]))
        + "</section>"
    )


def _how(found: Mapping[str, Any]) -> str:
    data, best = found["data"], found["best"]
    of_prompts = found["views"] is None
    stopped = "it has collapsed: everything that was held out got the same value"
    if best:
        held = f"{found['held_out']} {'prompts' if of_prompts else 'images'} that were held out"
        stopped = (
            f"best after {best['step']} steps, with a Spearman correlation of {best['spearman']:.3f} with the loss of"
            f" {held if of_prompts else f'the views of {held}'}"
        )
    read = "" if of_prompts else f"{found['views']} views of each of "
    return (
        f"A head of {found['depth']} hidden layers of {found['width']} units on the frozen network's features, trained"
        f" on {read}{data['rows']} rows of {data['name']}; {stopped}. Judged on {found['note']}."
    )


def _precision(record: Mapping[str, Any]) -> str:
    scores, recall = record["scores"], record["recall_at_1"]
    rows = (table_row([title, *_figures(scores[name])]) for name, title in TITLES.items() if name in scores)
    retrieval = "" if recall is None else f" Of {recall:.1%} of the rows the nearest other row has the same class."
    return (
        f"<h3>Loss rank in {escape(record['precision'])}: {record['rows']} rows, {record['wrong']} wrong</h3>"
        f"{table(['score', *MEASURES.values(), 'AURC'], rows)}"
        '<p class="note">R-AUROC is the chance that a row whose nearest other row has another class is the more'
        f" uncertain one.{retrieval} It tells how ambiguous an input is; it does not find inputs of another kind.</p>"
    )


def _figures(found: Mapping[str, Any]) -> Iterable[str]:
    return (*(_interval(found[name]) for name in MEASURES), f"{found['aurc']:.3f}")


def _interval(found: Mapping[str, float] | None) -> str:
    if found is None:
        return MISSING
    return f"{found['value']:.3f}<br><small>{found['low']:.3f} to {found['high']:.3f}</small>"
