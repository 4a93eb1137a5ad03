"""The stages of `loss_rank` on a tiny language model, on questions whose loss the prompt's last state gives away."""

from dataclasses import replace

import pytest
import torch

from app.api.report_page import version_report_page
from models.core.prompt_spec import Readout
from models.data.open_dataset import open_dataset
from models.data.splits import split
from models.language.pipeline import load_language_pipeline
from models.language.reading import read_items
from models.training.prompts.rows import QuestionRows
from tests.fixtures.questions import jsonl, lettered_rows
from tests.oracles.metrics import auroc

TYPE = "loss_rank"
SMALL = {"width": 16, "depth": 1}
LOOSE = {"min_gain": -1.0}


@pytest.fixture
def separated(language, tmp_path):
    """Rows that are wrong where the first direction of their features is above the median."""
    rows = lettered_rows(120)
    (tmp_path / "q.jsonl").write_bytes(jsonl(rows))
    asked = QuestionRows.of(open_dataset(tmp_path / "q.jsonl")).items
    outputs = read_items(language, asked, Readout.NEXT_TOKEN).outputs
    features = outputs.require_features()
    along = torch.linalg.svd(features - features.mean(dim=0), full_matrices=False).U[:, 0]
    places = (outputs.logits[:, :4].argmax(dim=1) + (along > along.median()).long()) % 4
    return jsonl([{**row, "answer": place} for row, place in zip(rows, places.tolist(), strict=True)])


def test_a_head_joins_the_scores_and_a_calibration_keeps_it(question_job, store, separated, tmp_path):
    job = question_job(TYPE, separated, **SMALL, gate=LOOSE)
    assert job.run() == {"promoted": True, "why": "the gate held"}
    version = store.read("tiny", 2)
    manifest, report = version.manifest, version.manifest.report[TYPE]
    assert manifest.scores == ("entropy", "max_prob", "energy", "epistemic", TYPE)
    assert (manifest.calibrator, manifest.prompts.readout) == (None, Readout.NEXT_TOKEN)
    assert (report["views"], report["held_out"], report["gate"]["limits"]["measure"]) == (None, 12, "auroc")
    (record,) = report["precisions"]
    assert record["recall_at_1"] is None
    # Measured: .89.
    assert record["scores"][TYPE]["auroc"]["value"] > 0.75
    pipeline = load_language_pipeline(store, version, torch.device("cpu"))
    (tmp_path / "q.jsonl").write_bytes(separated)
    rows = QuestionRows.of(open_dataset(tmp_path / "q.jsonl"))
    judged = rows.named(split(rows.names, 0, 60, 60)[1])
    answers = pipeline.answer(judged.items, Readout.NEXT_TOKEN, scores=(TYPE,)).answers
    wrong = (torch.from_numpy(answers.class_index) != judged.labels).tolist()
    expected = auroc(answers.scores[TYPE][0].tolist(), wrong)
    assert record["scores"][TYPE]["auroc"]["value"] == pytest.approx(expected, abs=0.01)
    assert "rows of questions; best after" in version_report_page("tiny", 2, manifest)

    question_job(content=separated, method="temperature", promote=False).run("outputs", "fit", "publish")
    after = store.read("tiny", 3)
    assert after.manifest.report[TYPE] == report
    one, other = (each.method_state("float32", f"scores.{TYPE}") for each in (version, after))
    assert all(one[name].equal(other[name]) for name in one)


def test_an_interrupted_training_ends_with_the_same_head(question_job, separated):
    whole = question_job(TYPE, separated, **SMALL, gate=LOOSE, promote=False)
    whole.run("outputs", "fit", "publish")
    job, steps = question_job(TYPE, separated, **SMALL, gate=LOOSE, promote=False), []
    context = job.context

    def until_the_second_check(message):
        steps.extend(found for found in [message.get("message", "")] if found.startswith("step "))
        if len(steps) == 2:
            raise KeyboardInterrupt

    job.context = replace(context, say=until_the_second_check)
    with pytest.raises(KeyboardInterrupt):
        job.run("outputs", "fit")
    job.context = replace(context, say=lambda message: steps.append(message.get("message", "")))
    job.run("fit", "publish")
    assert steps[2] != steps[0], "it began anew"
    # A version of the same bytes is the same version.
    assert job.results["publish"] == whole.results["publish"] == {"version": 2}


def test_a_head_that_is_no_better_than_entropy_stays_a_candidate(question_job, store, separated):
    job = question_job(TYPE, separated, **SMALL, gate={"measure": "spearman", "min_gain": 0.95})
    outcome = job.run()
    assert not outcome["promoted"]
    assert "Spearman's correlation with the loss in float32 on 60 rows is" in outcome["why"]
    assert store.active("tiny").version == 1
