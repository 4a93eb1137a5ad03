"""A job `calibrate` with the calibration direction: studied once, read under its step, or refused."""

import pytest
import torch

from app.jobs.language import direction
from models.core.errors import DataError
from models.data.open_dataset import open_dataset
from models.language.layers import layer_outputs, layer_states
from models.language.next_token import next_token_questions
from models.language.pipeline import load_language_pipeline
from models.training.prompts.rows import QuestionRows
from tests.fixtures.questions import jsonl, lettered_rows

CPU = torch.device("cpu")
KIND = {"max_nll_increase": 100, "max_ece_increase": 1, "max_accuracy_drop": 1}
METHOD = "calibration_direction"


@pytest.fixture
def layers(language, tmp_path):
    """(L, N, 4): what is answered to 80 questions after each layer."""
    (tmp_path / "q.jsonl").write_bytes(jsonl(lettered_rows(80)))
    asked = next_token_questions(language, QuestionRows.of(open_dataset(tmp_path / "q.jsonl")).items)
    outputs = layer_outputs(language, layer_states(language, asked), asked.tokens)
    return torch.stack([each.log_probabilities().exp() for each in outputs])


def answered(places):
    return jsonl([{**row, "answer": place} for row, place in zip(lettered_rows(80), places.tolist(), strict=True)])


def corrected(layers):
    """Answers of which the last two layers have the same ones right, and the last one as many as it is sure of."""
    before, last = layers[-2].argmax(dim=1), layers[-1].argmax(dim=1)
    right = torch.rand(80, generator=torch.Generator().manual_seed(0)) < layers[-1].amax(dim=1)
    neither = torch.ones(80, 4).scatter(1, torch.stack([before, last], dim=1), 0).argmax(dim=1)
    return torch.where((before == last) & right, last, neither)


def test_the_step_is_studied_once_and_served(question_job, store, layers):
    store.activate("both", 1, actor="test", reason="serves in both precisions")
    common = {"content": answered(corrected(layers)), "model": "both", "gate": KIND}
    job = question_job(**common, method=METHOD)
    assert job.run()["promoted"]
    version = store.read("both", 2)
    study = version.manifest.report["layers"]
    assert study["phase"]["layers"] == [4]
    state = version.method_state("float32", "calibrator")
    assert int(state["layer"]) == study["step"]["layer"]
    assert float(state["length"]) == pytest.approx(study["step"]["length"])
    after_step = version.method_state(study["precision"], "calibrator")["temperature"]
    assert float(after_step) == pytest.approx(study["temperature"], rel=0.1)
    for precision in version.manifest.precisions:
        pipeline = load_language_pipeline(store, version, CPU, precision=precision)
        assert pipeline.prompt_calibrator.step.layer == study["step"]["layer"]
    heard = len(job.said)
    job.run("fit")
    assert not [message for message in job.said[heard:] if "layer by layer" in message.get("message", "")]
    # A calibration that follows is compared with what is read under the step, and keeps the study.
    question_job(**common, method="temperature").run()
    made = store.read_manifest("both", 3)
    assert made.report["layers"] == study
    before, after = (each.report["evaluations"][2] for each in (version.manifest, made))
    assert after["precision"] == "float32"
    assert after["active"] == before["after"]
    assert after["before"]["nll"]["value"] == pytest.approx(before["before"]["nll"]["value"])


def test_without_a_correction_phase_nothing_is_made_but_a_table(question_job, store, layers, monkeypatch):
    monkeypatch.setattr(direction, "MOST_STUDIED", 30)
    job = question_job(content=answered(layers[-1].argmax(dim=1)), method=METHOD)
    with pytest.raises(DataError, match=r"no correction phase found: .* Calibrate tiny with another method"):
        job.run()
    assert store.versions("tiny") == [1]
    assert "studying the layers in float32 on 30 rows to fit on and 30 to report on, at most 30 each" in job.log
    start = job.log.index("part fit, 30 rows: layer, accuracy, confidence, ECE") + 1
    table = [line.split() for line in job.log[start : start + len(layers)]]
    assert [int(layer) for layer, *_ in table] == list(range(1, len(layers) + 1))
    assert table[-1][1] == "1.000", "the last layer has every answer right"
