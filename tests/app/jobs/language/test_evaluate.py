"""The stages of `evaluate` on a tiny language model: as it is served, on rows that it was not fitted on."""

import json

import pytest

from tests.fixtures.questions import jsonl, prompt_rows


def report_of(job):
    return json.loads((job.context.folder / "report.json").read_bytes())


def test_a_version_is_judged_on_rows_that_it_was_not_fitted_on(question_job, store):
    question_job(method="temperature", seed=2).run()
    job = question_job("evaluate")
    outcome = job.run()
    report = report_of(job)
    (row,) = report["evaluations"]
    assert (report["version"], row["calibrator"], row["role"], row["rows"]) == (2, "temperature", "report", 60)
    assert row["note"] == "without the 60 rows that version 2 was fitted on"
    fitted = store.read_manifest("tiny", 2).report["evaluations"][0]
    for when in ("before", "after"):
        assert row[when]["nll"]["value"] == pytest.approx(fitted[when]["nll"]["value"])
    assert outcome["metrics"]["nll"] == row["after"]["nll"]["value"]
    assert store.versions("tiny") == [1, 2]


def test_choices_read_as_the_version_is_not_calibrated_for(question_job, store):
    question_job(method="temperature").run()
    job = question_job("evaluate", jsonl(prompt_rows(40)), readout="text_length")
    job.run()
    (row,) = report_of(job)["evaluations"]
    assert (row["calibrator"], row["before"]) == ("none", row["after"])
    assert row["note"].endswith("choices read as text_length, which version 2 is not calibrated for")
