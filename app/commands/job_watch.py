"""A job as it goes: a live bar on a terminal, else a line now and then; and one last line with what came of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from app.client.job_replies import Job, JobEvent
from app.commands.job_tables import metric_lines
from app.commands.plain_table import plain

STEP = 5  # percent between two lines on progress
EXIT_STATUS = {"succeeded": 0, "failed": 1, "cancelled": 3}


class Shown(Protocol):
    """Shows one event after the other."""

    def show(self, event: JobEvent) -> None: ...


@contextmanager
def shown_on(console: Console) -> Iterator[Shown]:
    """A live bar with log and metrics above it where the console is a terminal."""
    if not console.is_terminal:
        yield PlainLines(console)
        return
    message = TextColumn("{task.fields[message]}", markup=False, table_column=_cut(ratio=1))
    columns = (BarColumn(bar_width=20), TaskProgressColumn(), TimeElapsedColumn(), message)
    with Progress(*columns, console=console, expand=True) as progress:
        yield LiveBar(progress)


class PlainLines:
    """A line for each event; of those on progress only some, as a file or a log is read later."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.told = -STEP

    def show(self, event: JobEvent) -> None:
        if event.kind == "progress":
            percent = round(100 * event.data["progress"])
            if percent < self.told + STEP:
                return
            self.told = percent
        for line in lines(event):
            self.console.print(Text(line), soft_wrap=True)


class LiveBar:
    """Progress and its message in the bar, everything else above it."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.task = progress.add_task("", total=1.0, message="")

    def show(self, event: JobEvent) -> None:
        if event.kind == "progress":
            message = plain(event.data["message"])
            self.progress.update(self.task, completed=event.data["progress"], message=message)
            return
        if event.kind == "state":
            self._state(event.data["state"])
        for line in lines(event):
            self.progress.console.print(Text(line))

    def _state(self, state: str) -> None:
        if state == "succeeded":
            self.progress.update(self.task, completed=1.0, message="")
        else:
            self.progress.update(self.task, message=plain(state))


def lines(event: JobEvent) -> list[str]:
    """An event in words."""
    data = event.data
    if event.kind == "progress":
        return [f"{data['progress']:4.0%}  {plain(data['message'])}"]
    if event.kind == "metrics":
        return metric_lines(data)
    if event.kind == "log":
        return [plain(data["text"]) if data["level"] == "info" else f"{plain(data['level'])}: {plain(data['text'])}"]
    return [plain(data["state"])] if event.kind == "state" else []


def last_line(job: Job, url: str) -> str:
    """What came of a job that is over, and where to read more."""
    if job.state != "succeeded":
        why = f": {plain(job.error)}" if job.error else ""
        return f"{job.id} {'was cancelled' if job.state == 'cancelled' else 'has failed'}{why}"
    result: dict[str, Any] = dict(job.result or {})
    if "version" not in result or "promoted" not in result:
        return f"{job.id} has succeeded. Report: {url}/v1/jobs/{job.id}/report.html"
    version = result["version"]
    became = "is active" if result["promoted"] else "stays a candidate"
    report = f"{url}/v1/models/{job.model}/versions/{version}/report.html"
    return f"{plain(job.model)}: version {version} {became}: {plain(str(result['why']))}. Report: {report}"


def _cut(ratio: int) -> Column:
    return Column(no_wrap=True, overflow="ellipsis", ratio=ratio)
