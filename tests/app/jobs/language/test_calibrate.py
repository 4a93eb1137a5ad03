"""The stages of `calibrate` on a tiny language model: readings, calibrators, references, the gate, begun again."""

import json
from dataclasses import replace

import pytest
import torch

from app.api.report_page import version_report_page
from app.api.risk_coverage import risk_coverage_svg
from models.calibration.temperature import Temperature
from models.core.errors import DataError
from models.core.prompt_spec import PromptSpec, Readout
from models.core.report import calibration_summary
from models.data.open_dataset import open_dataset
from models.data.splits import split
from models.language.pipeline import language_dimensions, load_language_pipeline
from models.language.reading import read_items
from models.training.prompts import kept_readings
from models.training.prompts.rows import QuestionRows
from tests.fixtures.questions import jsonl, lettered_rows, prompt_rows

CPU = torch.device("cpu")
KIND = {"max_nll_increase": 100, "max_ece_increase": 1, "max_accuracy_drop": 1}


@pytest.fixture
def read(monkeypatch):
    """How many items each call to the model had."""
    counts, original = [], kept_readings.read_items

    def counted(model, items, *given, **options):
        counts.append(len(items))
        return original(model, items, *given, **options)

    monkeypatch.setattr(kept_readings, "read_items", counted)
    return counts


def test_temperature_takes_confidence_down_to_what_is_right(question_job, store, questions, tmp_path):
    job = question_job(method="temperature")
    assert job.run() == {"promoted": True, "why": "the gate held"}
    version = store.read("tiny", 2)
    manifest = version.manifest
    assert (manifest.calibrator, manifest.prompts) == ("temperature", PromptSpec(Readout.NEXT_TOKEN))
    assert [(use.role, use.rows) for use in manifest.data] == [("fit", 60), ("report", 60)]
    assert job.metrics["nll_after"] < job.metrics["nll_active"] - 0.1
    assert job.metrics["nll_active"] == job.metrics["nll_before"]
    assert job.progress == sorted(job.progress)
    # Served: percentiles are those of the rows that were fitted on.
    pipeline = load_language_pipeline(store, version, CPU)
    (tmp_path / "q.jsonl").write_bytes(questions)
    rows = QuestionRows.of(open_dataset(tmp_path / "q.jsonl"))
    fitted = rows.named(split(rows.names, 0, 60)[0])
    outputs = read_items(pipeline.language, fitted.items, Readout.NEXT_TOKEN).outputs
    expected = Temperature(language_dimensions(pipeline.language)).fit(outputs, fitted.labels).state()["temperature"]
    found = version.method_state("float32", "calibrator")["temperature"]
    assert float(found) == pytest.approx(float(expected), rel=1e-3)
    answers = pipeline.answer(fitted.items, Readout.NEXT_TOKEN, scores=tuple(pipeline.scores)).answers
    assert tuple(answers.scores) == ("entropy", "max_prob", "energy", "epistemic")
    for values, percentiles in answers.scores.values():
        ranks = torch.tensor(values).argsort().argsort() / 60
        assert percentiles.tolist() == pytest.approx(ranks.tolist(), abs=0.021)


@pytest.mark.parametrize("method", ["temperature", "few_shot"])
def test_whoever_was_ended_does_not_read_again(question_job, store, read, method):
    job = question_job(method=method)
    say = job.context.say

    def until_the_first_rows_are_read(message):
        say(message)
        if "progress" in message:
            raise KeyboardInterrupt

    whole = job.context
    job.context = replace(whole, say=until_the_first_rows_are_read)
    with pytest.raises(KeyboardInterrupt):
        job.run("outputs")
    assert read == [64]
    job.context = whole
    for name in ("outputs", "fit", "publish", "promote"):
        first = job.run(name)
        assert job.run(name) == first
    assert read == [64, 56]
    assert store.versions("tiny") == [1, 2]


def test_a_worse_candidate_stays_one(question_job, store):
    """Five bins on few rows, where the model's own probabilities are right."""
    question_job(method="temperature").run()
    outcome = question_job(method="histogram", seed=4).run()
    assert not outcome["promoted"]
    assert "in float32 on 60 rows of questions would go from" in outcome["why"]
    assert store.active("tiny").version == 2
    assert store.versions("tiny") == [1, 2, 3]
    assert (
        "the serving version was fitted on some of them"
        in store.read_manifest("tiny", 3).report["evaluations"][0]["note"]
    )


def test_each_task_has_its_temperature(question_job, store):
    rows = [{**row, "subject": "a rare one"} if number < 10 else row for number, row in enumerate(lettered_rows(120))]
    question_job(content=jsonl(rows), method="task_temperature", gate=KIND).run()
    version = store.read("tiny", 2)
    assert version.manifest.prompts == PromptSpec(Readout.NEXT_TOKEN, ("the sand", "the sea"))
    assert len(version.method_state("float32", "calibrator")["temperatures"]) == 3
    load_language_pipeline(store, version, CPU)
    # A candidate that would take a task's temperature away is for a person to activate.
    fewer = jsonl(lettered_rows(120, tasks=("the sea",)))
    outcome = question_job(method="task_temperature", content=fewer, gate=KIND).run()
    lost = "1 of 2 tasks of version 2 have no temperature of their own any more: the sand"
    assert outcome == {"promoted": False, "why": f"{lost}: activate it by hand if that is meant"}
    assert store.read_manifest("tiny", 3).report["unjudged"] == [f"{lost}."]


def test_auto_picks_and_the_report_is_one_like_that_of_images(question_job, store):
    job = question_job(promote=False)
    job.run("outputs", "fit", "publish")
    manifest = store.read_manifest("tiny", 2)
    selection = manifest.report["selection"]
    assert selection["chosen"] == manifest.calibrator == job.results["fit"]["method"]
    assert {"none", "temperature", "isotonic", "task_temperature"} <= {row["name"] for row in selection["table"]}
    assert selection["reason"] in job.log
    json.dumps(manifest.report, allow_nan=False)
    assert calibration_summary(manifest.report, "float32")["evaluations"]
    assert "questions: 60 rows" in version_report_page("tiny", 2, manifest)
    judged = manifest.report["evaluations"][0]
    assert set(judged["compared"]) == {"none", "temperature", selection["chosen"]}
    assert risk_coverage_svg(judged).startswith("<svg")


def test_prompts_are_read_as_texts_and_a_change_of_readout_waits_for_a_person(question_job, store):
    assert question_job(content=jsonl(prompt_rows(80)), method="temperature", gate=KIND).run()["promoted"]
    assert store.read_manifest("tiny", 2).prompts == PromptSpec(Readout.TEXT)
    # Lettered questions, which are read as the serving version was fitted for unless the job says otherwise.
    assert question_job(method="temperature", gate=KIND).run()["promoted"]
    assert store.read_manifest("tiny", 3).prompts == PromptSpec(Readout.TEXT)
    outcome = question_job(method="temperature", readout="next_token", gate=KIND).run()
    version = store.read("tiny", 4)
    assert version.manifest.prompts == PromptSpec(Readout.NEXT_TOKEN)
    (told,) = version.manifest.report["unjudged"]
    assert told.startswith("Version 3 reads choices as text, it cannot be compared with one for next_token")
    assert outcome == {"promoted": False, "why": f"{told[:-1]}: activate it by hand if that is meant"}
    assert version.manifest.report["gate"]["held"] is False
    judged = version.manifest.report["evaluations"][0]
    assert judged["active"] == judged["before"], "what served was not calibrated for choices read so"
    load_language_pipeline(store, version, CPU)


def test_rows_that_cannot_be_read_are_left_out_unless_they_are_many(question_job, store):
    rows = lettered_rows(100)
    rows[3]["question"] = "the sea " * 300
    job = question_job(content=jsonl(rows), method="temperature", promote=False)
    job.run("outputs", "fit", "publish")
    assert any(line.startswith("left out row 4: ") and "shorten it" in line for line in job.log)
    assert sum(use.rows for use in store.read_manifest("tiny", 2).data) == 99
    with pytest.raises(DataError, match=r"of 80 prompts cannot be read as next_token, the first is row 2: not every"):
        question_job(content=jsonl(prompt_rows(80)), method="temperature", readout="next_token").run()
