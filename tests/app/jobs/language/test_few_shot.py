"""`calibrate` with `few_shot`: fitted on tasks, judged task by task, kept or dropped by the jobs after it."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy

from app.api.report_page import version_report_page
from models.core.errors import DataError
from models.core.prompt_spec import PromptSpec, Readout
from models.core.report import calibration_summary
from models.data.open_dataset import open_dataset
from models.data.splits import split
from models.language.few_shot_recalibration import DomainRows, FewShotPlan, FewShotRecalibrator, read_curves
from models.language.pipeline import load_language_pipeline
from models.language.reading import read_items
from models.training.prompts import kept_readings
from models.training.prompts.rows import QuestionRows
from tests.fixtures.completions import drawn_completions
from tests.fixtures.questions import jsonl, lettered_rows, prompt_rows

CPU = torch.device("cpu")
KIND = {"max_nll_increase": 100, "max_ece_increase": 1, "max_accuracy_drop": 1}
SEA, SAND = 1, 0  # by name


@pytest.fixture(scope="module")
def apart(language, tmp_path_factory):
    """The bytes of questions that the model always knows of the sea, and never of the sand."""
    asked = lettered_rows(120)
    path = tmp_path_factory.mktemp("apart") / "q.jsonl"
    path.write_bytes(jsonl(asked))
    outputs = read_items(language, QuestionRows.of(open_dataset(path)).items, Readout.NEXT_TOKEN).outputs
    logits = outputs.logits[:, :4]
    knows = torch.tensor([row["subject"] == "the sea" for row in asked])
    answers = torch.where(knows, logits.argmax(dim=1), logits.argmin(dim=1)).tolist()
    return jsonl([{**row, "answer": answer} for row, answer in zip(asked, answers, strict=True)])


@pytest.fixture
def slice_job(question_job, apart):
    return lambda content=apart, **params: question_job(content=content, method="few_shot", **params)


@pytest.fixture
def rows(apart, tmp_path):
    """The questions as the job sees them."""
    (tmp_path / "q.jsonl").write_bytes(apart)
    return QuestionRows.of(open_dataset(tmp_path / "q.jsonl"))


def domain_rows(language, rows, temperature=1.0):
    """As the library takes them, read anew."""
    outputs = read_items(language, rows.items, Readout.NEXT_TOKEN).outputs
    confidence, found = (outputs.masked(outputs.logits) / temperature).softmax(dim=1).max(dim=1)
    domains = torch.tensor([SEA if task == "the sea" else SAND for task in rows.tasks])
    return DomainRows(confidence, outputs.require_features(), found == rows.labels, domains)


def test_a_version_like_its_base_but_for_the_recalibrator(slice_job, store, language, rows):
    job = slice_job()
    assert job.run() == {"promoted": True, "why": "the gate held"}
    before, version = store.read("tiny", 1), store.read("tiny", 2)
    assert version.golden == before.golden
    assert version.manifest.report["evaluations"] == before.manifest.report["evaluations"] == []
    assert (version.manifest.calibrator, version.manifest.scores) == (None, ())
    assert all(name.startswith("float32.few_shot.") for name in version.tensors)
    told = version.manifest.report["few_shot"]
    assert [(use["role"], use["rows"]) for use in told["data"]] == [("report", 60), ("fit", 60)]
    assert (told["base"], told["seed"], told["fit_share"], told["plan"]["shown"]) == (1, 0, 0.5, 6)
    assert job.progress == sorted(job.progress)
    assert job.metrics["nll_after"] == told["evaluations"][0]["after"]["nll"]
    fitted = domain_rows(language, rows.named(split(rows.names, 0, 60)[0]))
    expected = FewShotRecalibrator.fit(fitted, FewShotPlan()).state
    found = load_language_pipeline(store, version, CPU).few_shot.state
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(found[name], value, atol=1e-3), name
    page = version_report_page("tiny", 2, version.manifest)
    assert "Few-shot recalibration of slices" in page
    assert "<td>the sand</td>" in page


def test_each_task_is_judged_on_the_rows_that_were_not_shown(slice_job, store, language, rows):
    slice_job().run()
    version = store.read("tiny", 2)
    judged, fitted = version.manifest.report["few_shot"]["evaluations"]
    assert (judged["role"], fitted["role"]) == ("report", "fit")
    report = domain_rows(language, rows.named(split(rows.names, 0, 60, 60)[1]))
    method = load_language_pipeline(store, version, CPU).few_shot
    chances, correct, raw = [], [], []
    for number, name in ((SAND, "the sand"), (SEA, "the sea")):
        here = (report.domains == number).nonzero()[:, 0]
        curve = method.curve(report.confidences[here[:6]], report.embeddings[here[:6]])
        chances.append(read_curves(curve, report.confidences[here[6:]]))
        correct.append(report.correct[here[6:]])
        raw.append(report.confidences[here[6:]])
        found = judged["slices"][number]
        assert (found["slice"], found["after"]["rows"]) == (name, len(here) - 6)
        assert found["after"]["confidence"] == pytest.approx(float(chances[-1].mean()), abs=1e-4)
        assert found["before"]["confidence"] == pytest.approx(float(raw[-1].mean()), abs=1e-4)
    right = torch.cat(correct)
    assert judged["rows"] == len(right) == 48
    for when, values in (("before", raw), ("active", raw), ("after", chances)):
        expected = float(binary_cross_entropy(torch.cat(values), right.float()))
        assert judged[when]["nll"] == pytest.approx(expected, rel=1e-3)
        assert judged[when]["accuracy"] == pytest.approx(float(right.float().mean()))
    assert judged["after"]["nll"] < judged["before"]["nll"] - 0.1
    sand, sea = (found["after"]["confidence"] for found in judged["slices"])
    assert sand < 0.3 < 0.7 < sea, "tasks are told apart without labels"


def test_the_confidences_are_those_of_the_calibrator_that_serves(slice_job, question_job, store, language, rows):
    question_job(method="temperature").run()
    slice_job(gate=KIND).run()
    calibrated, version = store.read("tiny", 2), store.read("tiny", 3)
    assert version.golden == calibrated.golden
    assert version.manifest.report["evaluations"] == calibrated.manifest.report["evaluations"]
    for name, tensor in calibrated.tensors.items():
        assert torch.equal(version.tensors[name], tensor)
    temperature = float(calibrated.method_state("float32", "calibrator")["temperature"])
    fitted = domain_rows(language, rows.named(split(rows.names, 0, 60)[0]), temperature)
    loaded = load_language_pipeline(store, version, CPU)
    expected = FewShotRecalibrator.fit(fitted, FewShotPlan()).state["bias.1"]
    assert loaded.few_shot.state["bias.1"].tolist() == pytest.approx(expected.tolist(), abs=1e-3)
    told = version.manifest.report
    assert told["few_shot"]["base"] == 2
    assert not {"gate", "base"} & told.keys(), "decisions about the version before are not inherited"


def test_jobs_that_leave_confidence_alone_keep_it(slice_job, question_job, store, language):
    slice_job(gate=KIND).run()
    question_job("loss_rank", passes=1, views=2, width=8, gate={"measure": "auroc", "min_gain": -1}).run()
    content = jsonl(drawn_completions(language, 60, 6))
    question_job(content=content, method="token_temperature", gate=KIND).run()
    first, *later = (store.read("tiny", number) for number in (2, 3, 4))
    expected = first.method_state("float32", "few_shot")
    for version in later:
        state = version.method_state("float32", "few_shot")
        assert all(torch.equal(state[name], value) for name, value in expected.items())
        assert version.manifest.report["few_shot"] == first.manifest.report["few_shot"]
        assert load_language_pipeline(store, version, CPU).few_shot is not None


def test_a_new_calibrator_drops_it_and_a_person_decides(slice_job, question_job, store):
    slice_job(gate=KIND).run()
    outcome = question_job(method="temperature", gate=KIND).run()
    version = store.read("tiny", 3)
    assert not version.method_state("float32", "few_shot")
    assert "few_shot" not in version.manifest.report
    assert load_language_pipeline(store, version, CPU).few_shot is None
    assert not outcome["promoted"]
    assert outcome["why"].startswith("Version 2 has a few-shot recalibrator of its own confidences")
    slice_job(version=3, promote=False).run()
    assert store.read_manifest("tiny", 4).report["few_shot"]["base"] == 3


def test_a_second_fit_is_compared_with_the_first(slice_job, store):
    slice_job(gate=KIND).run()
    slice_job(seed=1, gate=KIND).run()
    judged = store.read_manifest("tiny", 3).report["few_shot"]["evaluations"][0]
    assert "the serving version's recalibrator was fitted on some of them" in judged["note"]
    assert judged["active"]["nll"] < judged["before"]["nll"] - 0.1
    assert judged["active"] != judged["after"]
    slice_job(seed=1, version=3, gate=KIND).run()
    again = store.read_manifest("tiny", 4).report["few_shot"]["evaluations"][0]
    assert "favours" not in again["note"]
    assert again["active"] == again["after"] == judged["after"], "the same rows, the same fit"


def test_a_worse_recalibrator_stays_a_candidate(slice_job, store, questions):
    """Of tasks that do not differ there is nothing to be learnt."""
    outcome = slice_job(questions).run()
    assert not outcome["promoted"]
    assert outcome["why"].startswith("NLL in float32 on 48 rows of slices of questions would go from")
    report = store.read_manifest("tiny", 2).report
    assert f"few_shot is unproven here: {outcome['why']}" in calibration_summary(report, "float32")["warnings"]
    gate = report["few_shot"]["gate"]
    assert (gate["held"], gate["limits"]["max_nll_increase"]) == (False, 0)


def test_choices_that_nobody_has_fitted_for_are_read_as_the_job_says(slice_job, question_job, store):
    content = [{**row, "task": f"task {number % 2}"} for number, row in enumerate(prompt_rows(80))]
    slice_job(content=jsonl(content), gate=KIND).run()
    version = store.read("tiny", 2)
    assert version.manifest.prompts == PromptSpec(Readout.TEXT)
    assert version.golden != store.read("tiny", 1).golden
    assert load_language_pipeline(store, version, CPU).few_shot is not None
    question_job(method="temperature", gate=KIND).run()
    assert store.read_manifest("tiny", 3).prompts == PromptSpec(Readout.TEXT), "as the recalibrator was fitted for"


def test_small_tasks_and_rows_without_one_are_left_out(slice_job, store):
    few = [{**row, "subject": "a rare one"} if number < 8 else row for number, row in enumerate(lettered_rows(120))]
    none = [{name: value for name, value in row.items() if name != "subject"} for row in few[60:64]]
    job = slice_job(content=jsonl([*few[:60], *none, *few[64:]]), gate=KIND)
    job.run()
    judged = store.read_manifest("tiny", 2).report["few_shot"]["evaluations"][0]
    assert [found["slice"] for found in judged["slices"]] == ["the sand", "the sea"]
    assert any("rows of no task, or of a small one, are left out" in line for line in job.log)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (lettered_rows(120, tasks=("the sea",)), "1 tasks have more than 6 rows to fit on, at least 2 are needed"),
        (lettered_rows(120, tasks=tuple(f"task {n}" for n in range(60))), "0 tasks have more than 6 rows to fit on"),
        (lettered_rows(48), "12 rows to report on beside the 6 shown of each task, at least 20 are needed"),
    ],
)
def test_too_few_rows_are_told_before_any_is_read(slice_job, monkeypatch, rows, told):
    monkeypatch.setattr(kept_readings, "read_items", lambda *given, **options: pytest.fail("it was read"))
    with pytest.raises(DataError, match=told):
        slice_job(content=jsonl(rows)).run("outputs")
