"""`calibrate` with `token_temperature`: fitted on reference answers, judged on others, kept by the jobs after it."""

import pytest

from app.api.report_page import version_report_page
from app.jobs.language import tokens
from models.core.errors import DataError
from models.core.prompt_spec import Readout
from models.data.splits import split
from models.language.continuations import continuation
from models.language.read_tokens import ReadTokens, read_tokens
from models.language.token_temperature import fit_token_temperature
from tests.fixtures.completions import drawn_completions
from tests.fixtures.questions import jsonl

KIND = {"max_nll_increase": 100, "max_ece_increase": 1, "max_accuracy_drop": 1}
ROWS = 60


@pytest.fixture(scope="session")
def completions(language):
    return drawn_completions(language, ROWS, 6)


@pytest.fixture
def token_job(question_job, completions):
    return lambda content=None, **params: question_job(
        content=jsonl(completions) if content is None else content, method="token_temperature", **params
    )


def test_a_temperature_for_tokens_leaves_choices_as_they_are(token_job, completions, store, language):
    job = token_job()
    assert job.run() == {"promoted": True, "why": "the gate held"}
    before, version = store.read("tiny", 1), store.read("tiny", 2)
    assert version.golden == before.golden
    assert version.manifest.report["evaluations"] == before.manifest.report["evaluations"]
    told = version.manifest.report["tokens"]
    judged, fitted = told["evaluations"]
    assert [(use["role"], use["rows"]) for use in told["data"]] == [("report", 30), ("fit", 30)]
    assert judged["after"]["nll"] < judged["before"]["nll"] - 0.1
    assert judged["active"] == judged["before"]
    assert job.metrics["nll_after"] == judged["after"]["nll"]
    assert job.progress == sorted(job.progress)
    temperature = version.manifest.prompts.token_temperatures["float32"]
    fitted_on = split([f"row {number}" for number in range(1, 61)], 0, 30)[0]
    rows = [completions[int(name.removeprefix("row ")) - 1] for name in fitted_on]
    answers = [continuation(language, row["prompt"], row["completion"]) for row in rows]
    read = ReadTokens.joined(list(read_tokens(language, answers)))
    assert temperature == pytest.approx(fit_token_temperature(language.unembedding, read), rel=1e-3)
    assert fitted["after"]["tokens"] == len(read)
    assert "Tokens of free answers" in version_report_page("tiny", 2, version.manifest)


def test_later_jobs_keep_it(token_job, question_job, store):
    token_job().run()
    question_job(method="temperature", gate=KIND).run()
    question_job("loss_rank", passes=1, views=2, width=8, gate={"measure": "auroc", "min_gain": -1}).run()
    first, second, third = (store.read_manifest("tiny", version) for version in (2, 3, 4))
    assert first.prompts.token_temperatures == second.prompts.token_temperatures == third.prompts.token_temperatures
    assert second.prompts.readout is Readout.NEXT_TOKEN
    assert first.report["tokens"] == second.report["tokens"] == third.report["tokens"]


def test_a_second_fit_on_the_same_rows_says_what_it_is_compared_with(token_job, store):
    token_job().run()
    token_job(seed=1).run()
    first, second = (store.read_manifest("tiny", version) for version in (2, 3))
    judged = second.report["tokens"]["evaluations"][0]
    assert "the serving version's temperature was fitted on some of them" in judged["note"]
    assert judged["active"]["nll"] < judged["before"]["nll"]
    assert first.prompts.token_temperatures != second.prompts.token_temperatures
    token_job(seed=1, version=3).run()
    third = store.read_manifest("tiny", 4).report["tokens"]
    assert third["evaluations"][0]["note"] == "rows of the same data, not fitted on"
    assert (third["base"], third["seed"], third["fit_share"]) == (3, 1, 0.5)


def test_answers_that_cannot_be_read(token_job, completions):
    long = [{**row, "completion": " blue" * 3000} for row in completions[:10]]
    with pytest.raises(DataError, match=r"\d+ of 30 answers cannot be read, the first is row \d+: .* context"):
        token_job(jsonl([*long, *completions[10:]])).run()


def test_long_answers_are_read_until_there_are_rows_enough(token_job, monkeypatch):
    monkeypatch.setattr(tokens, "MOST_TOKENS", 50)
    job = token_job(promote=False)
    job.run()
    assert any("by 120 tokens" in line for line in job.log), "of 20 rows"


def test_too_few_tokens(token_job, completions):
    short = [{**row, "completion": " blue"} for row in completions]
    with pytest.raises(DataError, match="tokens to fit or judge on, at least 100 are needed: send more rows"):
        token_job(jsonl(short)).run()


def test_a_decision_about_the_version_before_is_not_inherited(question_job, token_job, store):
    question_job(method="temperature", gate={"max_nll_increase": 0}, promote=False).run()
    token_job(version=2, promote=False).run()
    before, after = (store.read_manifest("tiny", version).report for version in (2, 3))
    assert {"gate", "base"} <= before.keys()
    assert not {"gate", "base"} & after.keys()
    assert after["tokens"]["base"] == 2
