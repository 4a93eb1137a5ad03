"""One form of a question on both sides: what a request asks is what a job asks, which the calibration is for."""

import pytest

from app.scoring.prompt_intake import PromptInput, read_prompt
from app.settings import Settings
from models.core.prompt_spec import Readout
from models.data.open_dataset import open_dataset
from models.language.causal_lm import CausalLM
from models.language.continuations import encoded
from models.training.prompts.rows import QuestionRows
from tests.fixtures.questions import jsonl, lettered_rows


@pytest.mark.parametrize("subject", [None, "high_school_biology"])
@pytest.mark.parametrize("task", [None, "biology"])
def test_a_question_of_a_request_is_asked_as_that_of_a_row(prompt_predictor, tmp_path, subject, task):
    row = {**lettered_rows(1)[0], "subject": subject, "task": task}
    (tmp_path / "q.jsonl").write_bytes(jsonl([row]))
    (of_row,) = QuestionRows.of(open_dataset(tmp_path / "q.jsonl")).items
    given = PromptInput("q", row["question"], tuple(row["choices"]), lettered=True, task=task, subject=subject)
    language = prompt_predictor.pipeline.language
    asked = read_prompt(given, language, [Readout.NEXT_TOKEN], Settings())
    assert asked.item == encoded(language, of_row)


def test_a_prompt_is_made_into_tokens_once_for_each_choice_and_once_before_them(prompt_predictor, monkeypatch):
    pipeline, encode, texts = prompt_predictor.pipeline, CausalLM.encode_more, []
    monkeypatch.setattr(CausalLM, "encode_more", lambda model, text: texts.append(text) or encode(model, text))
    given = PromptInput("p", "The sea is", (" blue water", " A"))
    asked = read_prompt(given, pipeline.language, [Readout.NEXT_TOKEN, Readout.TEXT], Settings())
    pipeline.answer([asked.item], asked.readout)
    assert (asked.readout, sorted(texts)) == (Readout.TEXT, ["The sea is", "The sea is A", "The sea is blue water"])
