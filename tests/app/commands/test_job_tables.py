"""Datasets and jobs as people see them: at 80 columns, and with names that try to break the table."""

import io
import time

import pytest
from rich.console import Console

from app.client.job_replies import parse_dataset, parse_job
from app.commands import job_tables
from tests.fixtures.job_replies import DATASET, JOB, SUCCEEDED


@pytest.fixture
def printed():
    """`printed(show, value)`: the lines of a console of 80 columns."""

    def lines(show, value):
        file = io.StringIO()
        show(Console(file=file, width=80, highlight=False), value)
        return [line.rstrip() for line in file.getvalue().splitlines()]

    return lines


def test_a_list_of_jobs_fits_into_80_columns(printed):
    jobs = [JOB | {"state": "cancelling", "progress": 1.0, "created_at": time.time() - 59 * 60 - 5}, SUCCEEDED]
    lines = printed(job_tables.show_jobs, [parse_job(job) for job in jobs])
    assert lines[0].split() == ["id", "state", "done", "type", "model", "age"]
    assert lines[2].split() == [JOB["id"], "cancelling", "100%", "calibrate", "efficientnet-lite0", "59", "min"]
    assert len(lines) == 4
    assert max(map(len, lines)) <= 80


def test_a_list_of_datasets_fits_into_80_columns(printed):
    long = DATASET | {"name": "photographs of the whole of last year", "rows": 2_000_000, "bad_count": 12_345}
    lines = printed(job_tables.show_datasets, [parse_dataset(long), parse_dataset(DATASET)])
    assert max(map(len, lines)) <= 80
    assert [DATASET["id"], "digits", "images", "122", "2", "1.2", "MB", "2026-11-22"] in [
        line.split() for line in lines
    ]


def test_a_dataset_says_what_is_in_it_and_what_is_not(printed):
    lines = printed(job_tables.show_dataset, parse_dataset(DATASET))
    assert lines == [
        "ds_0123456789abcdef0123  digits",
        "  content  images, zip, 1.2 MB",
        "  rows     120 good, 2 left out",
        "  labels   2: cat (70), dog (50)",
        "  added    2026-11-22T05:20:32",
        "left out images/3.png: cannot be read",
        "left out images/4.png: has no label",
    ]


def test_a_table_of_outputs_with_many_labels_and_bad_rows(printed):
    outputs = {"kind": "outputs", "columns": 1000, "features": 1280, "labels": None, "classes": 1000, "path": "a/b.csv"}
    bad = [{"row": str(number), "reason": "NaN"} for number in range(100)]
    lines = printed(job_tables.show_dataset, parse_dataset(DATASET | outputs | {"bad": bad, "bad_count": 105}))
    assert "  outputs  1000 logits, 1280 features a row" in lines
    assert "  labels   1000 different" in lines
    assert "  lies at  a/b.csv, below the server's data root" in lines
    assert lines[-2:] == ["left out 19: NaN", "and 85 more"]
    many = parse_dataset(DATASET | {"labels": {f"l{number}": 1 for number in range(15)}, "classes": 15})
    assert "l11 (1), and 3 more" in " ".join(" ".join(printed(job_tables.show_dataset, many)).split())


def test_a_job_says_what_it_was_asked_and_what_it_found(printed):
    run = {"started_at": 1_700_000_010.0, "finished_at": 1_700_000_135.0, "attempts": 2}
    metrics = {"ece_after": 0.0423456, "ece_active": 0.059, "ece_before": 0.6, "rows": 60.0}
    lines = printed(job_tables.show_job, parse_job(SUCCEEDED | run | {"metrics": metrics}))
    assert lines[0] == f"{JOB['id']}  succeeded, 100%"
    assert "  params    method=auto, gate.max_ece_increase=0.01" in lines
    assert "  took      2 min" in lines
    assert "  attempts  2" in lines
    assert "  result    base=1, method=vector, version=2, promoted=True, why=the gate held" in lines
    assert lines[-2:] == ["  ece  before 0.6, active 0.059, after 0.04235", "  rows  60"]


def test_a_failed_job_says_why(printed):
    lines = printed(job_tables.show_job, parse_job(JOB | {"state": "failed", "error": "row 3: no [red]label\x1b[2J"}))
    assert lines[-1] == "row 3: no [red]label\N{REPLACEMENT CHARACTER}[2J"


@pytest.mark.parametrize(
    ("count", "written"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (75_400, "75 kB"), (999_600, "1.0 MB"), (7 * 10**12, "7000 GB")],
)
def test_sizes(count, written):
    assert job_tables.size(count) == written


@pytest.mark.parametrize(
    ("seconds", "written"), [(-3, "0 s"), (59.9, "59 s"), (60, "1 min"), (7300, "2 h"), (86400 * 30, "30 d")]
)
def test_durations(seconds, written):
    assert job_tables.duration(seconds) == written
