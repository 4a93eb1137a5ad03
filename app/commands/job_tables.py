"""Datasets and jobs as tables for a terminal, readable at 80 columns."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.client.job_replies import Dataset, Job
from app.commands.plain_table import plain, plain_table, text

WIDE = 100
LABELS_SHOWN = 12
BAD_SHOWN = 20
STATE_COLOURS = {"succeeded": "green3", "failed": "red", "running": "yellow3", "cancelling": "yellow3"}
MOMENTS = ("before", "active", "after")


def show_datasets(console: Console, datasets: Sequence[Dataset]) -> None:
    table = _list_table(console, "id", "name", "kind", "rows", "bad", "size", "added")
    for column in table.columns[3:6]:
        column.justify = "right"
    for dataset in datasets:
        table.add_row(
            Text(plain(dataset.id), style="bold"),
            text(dataset.name),
            text(dataset.kind),
            str(dataset.rows),
            Text(str(dataset.bad_count), style="yellow3" if dataset.bad_count else ""),
            size(dataset.bytes),
            text(dataset.created_at[:10]),
        )
    console.print(table)


def show_dataset(console: Console, dataset: Dataset) -> None:
    """What is in it, and which rows are left out and why."""
    console.print(Text.assemble((plain(dataset.id), "bold"), f"  {plain(dataset.name)}"))
    left_out = f", {dataset.bad_count} left out" if dataset.bad_count else ""
    features = f", {dataset.features} features" if dataset.features else ""
    facts = {
        "content": f"{dataset.kind}, {dataset.format}, {size(dataset.bytes)}",
        "rows": f"{dataset.good} good{left_out}",
        "outputs": f"{dataset.columns} logits{features} a row" if dataset.columns else None,
        "labels": _labels(dataset),
        "lies at": f"{dataset.path}, below the server's data root" if dataset.path else None,
        "added": dataset.created_at[:19],
    }
    _show_facts(console, facts)
    for bad in dataset.bad[:BAD_SHOWN]:
        console.print(Text(f"left out {plain(bad.row)}: {plain(bad.reason)}", style="yellow3"))
    if dataset.bad_count > BAD_SHOWN:
        console.print(Text(f"and {dataset.bad_count - BAD_SHOWN} more"))


def show_jobs(console: Console, jobs: Sequence[Job]) -> None:
    table = _list_table(console, "id", "state", "done", "type", "model", "age")
    table.columns[2].justify = table.columns[5].justify = "right"
    for job in jobs:
        table.add_row(
            Text(plain(job.id), style="bold"),
            _state(job),
            f"{job.progress:.0%}",
            text(job.type),
            text(job.model),
            duration(time.time() - job.created_at),
        )
    console.print(table)


def show_job(console: Console, job: Job) -> None:
    """How far it is, what it was asked and what it has found."""
    console.print(Text.assemble((plain(job.id), "bold"), "  ", _state(job), f", {job.progress:.0%}"))
    now = time.time()
    facts = {
        "asked": f"{job.type} {job.model} on {job.dataset}",
        "by": f"{job.created_by}, {duration(now - job.created_at)} ago",
        "params": ", ".join(f"{name}={value}" for name, value in flat(job.params)),
        "message": job.message,
        "took": duration((job.finished_at or now) - job.started_at) if job.started_at else None,
        "attempts": str(job.attempts) if job.attempts > 1 else None,
        "result": ", ".join(f"{name}={value}" for name, value in _single(job.result or {})),
    }
    _show_facts(console, facts)
    for line in metric_lines(job.metrics):
        console.print(Text(f"  {line}"))
    if job.error:
        console.print(Text(plain(job.error), style="red"))


def metric_lines(metrics: Mapping[str, float]) -> list[str]:
    """A line for each measure, with its values before and after where it has those: `ece  before 0.22, after 0.05`."""
    lines: dict[str, list[str]] = {}
    for name, value in metrics.items():
        measure, _, moment = name.rpartition("_")
        if moment in MOMENTS:
            lines.setdefault(plain(measure), []).append(f"{moment} {value:.4g}")
        else:
            lines.setdefault(plain(name), []).append(f"{value:.4g}")
    # The server keeps them in no order.
    return [f"{measure}  {', '.join(sorted(values, key=_moment))}" for measure, values in sorted(lines.items())]


def flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and what they stand for; None is left out."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{above}{name}.")
        elif value is not None:
            yield f"{above}{name}", value


def size(count: int) -> str:
    """Bytes as in 1.2 MB."""
    value, units = float(count), ["B", "kB", "MB", "GB"]
    while value >= 999.5 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.0f} {units[0]}" if value >= 10 or units[0] == "B" else f"{value:.1f} {units[0]}"


def duration(seconds: float) -> str:
    """In the largest unit that fits, as in 3 min."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} s"


def _list_table(console: Console, *columns: str) -> Table:
    """The first column, which is what the other commands ask for, stays whole."""
    table = plain_table(*columns)
    table.columns[0].no_wrap = True
    if console.width < WIDE:
        table.padding = 0
    return table


def _single(result: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a result has beside the metrics, which are shown anyway, and the gate, which its `why` sums up."""
    return ((name, value) for name, value in result.items() if not isinstance(value, Mapping))


def _show_facts(console: Console, facts: Mapping[str, str | None]) -> None:
    table = plain_table("", "")
    table.show_header = False
    for name, value in facts.items():
        if value:
            table.add_row(f"  {name}", text(value))
    console.print(table)


def _labels(dataset: Dataset) -> str:
    if dataset.labels is None:
        return f"{dataset.classes} different"
    shown = [f"{label} ({count})" for label, count in list(dataset.labels.items())[:LABELS_SHOWN]]
    more = f", and {len(dataset.labels) - LABELS_SHOWN} more" if len(dataset.labels) > LABELS_SHOWN else ""
    return f"{dataset.classes}: {', '.join(shown)}{more}"


def _state(job: Job) -> Text:
    return Text(plain(job.state), style=STATE_COLOURS.get(job.state, ""))


def _moment(written: str) -> int:
    moment = written.partition(" ")[0]
    return MOMENTS.index(moment) if moment in MOMENTS else len(MOMENTS)
