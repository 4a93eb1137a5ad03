"""The stages of `evaluate` in this process: every measure of the version as it serves, and nothing is changed."""

import json
import math
from dataclasses import replace

import pytest

from models.core.errors import MissingOutputError
from tests.fixtures.tables import outputs_table


def report_of(job):
    return json.loads((job.context.folder / "report.json").read_bytes())


def test_a_table(staged_job, store):
    job = staged_job(outputs_table(120), "evaluate")
    outcome = job.run()
    report = report_of(job)
    assert (report["version"], len(report["classes"])) == (1, 10)
    assert [row["precision"] for row in report["evaluations"]] == ["float32"]
    for row in report["evaluations"]:
        assert (row["rows"], row["role"], row["calibrator"]) == (120, "report", "temperature")
        assert row["before"] != row["after"]
    assert outcome["metrics"] == job.metrics
    assert all(math.isfinite(value) for value in job.metrics.values())
    assert job.progress[-1] == 1.0
    assert store.versions("tiny") == [1]
    first = (job.context.folder / "report.json").read_bytes()
    job.run("report")
    assert (job.context.folder / "report.json").read_bytes() == first


def test_images(staged_job, digit_archive):
    job = staged_job(digit_archive.path.read_bytes(), "evaluate", name="digits.zip")
    job.run()
    (row,) = report_of(job)["evaluations"]
    assert (row["role"], row["rows"]) == ("report", 60)
    assert row["note"] == "without the 60 rows that version 1 was fitted on"
    assert any("of 120 images, float32" in message.get("message", "") for message in job.said)


def test_a_version_that_needs_features(staged_job, store, clipped, digit_archive):
    version = store.publish("tiny", clipped)
    job = staged_job(digit_archive.path.read_bytes(), "evaluate", name="digits.zip", version=version)
    job.run()
    (row,) = report_of(job)["evaluations"]
    assert (row["calibrator"], report_of(job)["version"]) == ("feature_clipping", version)
    with pytest.raises(MissingOutputError, match="features"):
        staged_job(outputs_table(40), "evaluate", version=version).run()


def test_few_rows(staged_job):
    job = staged_job(outputs_table(2), "evaluate")
    job.run()
    assert report_of(job)["evaluations"][0]["rows"] == 2


def test_rows_that_were_fitted_on_and_cannot_be_told_apart_are_no_evidence(staged_job, store, tiny, digit_archive):
    changed = replace(tiny.version.manifest, seeds={"split": tiny.plan.recipe.seed + 1})
    version = store.publish("tiny", replace(tiny.version, manifest=changed))
    job = staged_job(digit_archive.path.read_bytes(), "evaluate", name="digits.zip", version=version)
    job.run()
    for row in report_of(job)["evaluations"]:
        assert (row["role"], row["rows"]) == ("fit", 120)
        assert "not evidence" in row["note"]
