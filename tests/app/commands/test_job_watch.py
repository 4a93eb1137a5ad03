"""A job as it goes, on a terminal and in a file."""

import io
import re

import pytest
from rich.console import Console

from app.client.job_replies import JobEvent, parse_job
from app.commands.job_watch import last_line, lines, shown_on
from tests.fixtures.job_replies import JOB, SUCCEEDED


def event(kind, **data):
    return JobEvent(1, kind, 0.0, data)


EVENTS = [
    event("state", state="running"),
    event("progress", progress=0.5, message="64 of 120 images, bfloat16, and a message that is too long for the line"),
    event("log", level="info", text="picked vector\x1b[2J"),
    event("metrics", ece_before=0.25, ece_after=0.0312),
    event("state", state="succeeded"),
]


@pytest.fixture
def written():
    """`written(events, terminal)`: what a console of 80 columns got."""

    def show(events, terminal):
        file = io.StringIO()
        with shown_on(Console(file=file, width=80, force_terminal=terminal, highlight=False)) as shown:
            for each in events:
                shown.show(each)
        return file.getvalue()

    return show


def test_a_file_gets_plain_lines(written):
    assert written(EVENTS, terminal=False).splitlines() == [
        "running",
        " 50%  64 of 120 images, bfloat16, and a message that is too long for the line",
        "picked vector\N{REPLACEMENT CHARACTER}[2J",
        "ece  before 0.25, after 0.0312",
        "succeeded",
    ]


def test_a_file_gets_a_line_for_a_step_of_progress_only(written):
    reports = [event("progress", progress=share / 100, message=f"row {share}") for share in range(101)]
    assert len(written(reports, terminal=False).splitlines()) == 21


def test_a_terminal_gets_a_bar_below_the_log(written):
    drawn = written(EVENTS[:-1], terminal=True)
    assert "\x1b[2J" not in drawn
    assert drawn.index("picked vector") < drawn.index("ece  before 0.25, after 0.0312") < drawn.rindex(" 50%")
    last = re.sub(r"\x1b\[[^A-Za-z]*[A-Za-z]", "", drawn).splitlines()[-1]
    assert last.endswith("…")
    assert (len(last), "64 of 120 images" in last) == (80, True)
    assert "100%" in written(EVENTS, terminal=True)


def test_a_bar_says_that_the_job_waits_again(written):
    assert "queued" in written([event("progress", progress=0.3, message="x"), event("state", state="queued")], True)


def test_an_event_of_a_newer_server_is_passed_over():
    assert lines(event("rumour", text="x")) == []


def test_warnings_are_marked():
    assert lines(event("log", level="warning", text="slow")) == ["warning: slow"]


def test_the_last_line_of_other_jobs():
    evaluated = parse_job(SUCCEEDED | {"result": {"version": 1, "metrics": {}}})
    assert last_line(evaluated, "http://h") == (
        f"{JOB['id']} has succeeded. Report: http://h/v1/jobs/{JOB['id']}/report.html"
    )
    failed = parse_job(JOB | {"state": "failed", "error": "no room\x07"})
    assert last_line(failed, "http://h") == f"{JOB['id']} has failed: no room\N{REPLACEMENT CHARACTER}"
    assert last_line(parse_job(JOB | {"state": "cancelled"}), "http://h") == f"{JOB['id']} was cancelled"
