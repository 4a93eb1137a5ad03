"""Prompts by the clients, against a server in this process with a tiny language model."""

import pytest

from app.client import AnsweredPrompt, FailedPrompt, HowsureApiError, ScoredPrompt
from tests.fixtures.formed import served


@pytest.fixture(scope="module")
def language_url(prompt_predictor):
    with served(prompt_predictor) as url:
        yield url


def test_prompts_of_every_form_in_order(ask, language_url):
    prompts = [
        ("The sea is", [" blue as ever", " yellow"]),
        {"id": "letters", "question": "What is blue?", "choices": ["the sea", "the sand"]},
        {"prompt": "", "choices": ["a", "b"], "id": "bad"},
        {"messages": [{"role": "user", "content": "hello"}], "choices": [" A", " B"]},
    ]
    reply = ask(language_url, "score_prompts", prompts, scores=["entropy"], top_k=1)
    assert (reply.model, reply.version, reply.readout) == ("tiny-language", 2, None)
    assert [item.input for item in reply.items] == ["prompt-0", "letters", "bad", "prompt-3"]
    assert [type(item) for item in reply.items] == [ScoredPrompt, ScoredPrompt, FailedPrompt, ScoredPrompt]
    text, letters, _ = reply.scored
    assert (text.readout, text.calibrated) == ("text", False)
    assert (letters.readout, letters.calibrated) == ("next_token", True)
    assert letters.label == ("the sea", "the sand")[letters.class_index] == letters.top[0].label
    assert letters.top[0].probability == letters.confidence
    assert letters.uncertainty.keys() == {"entropy"}
    assert [(failed.error.status, failed.error.detail) for failed in reply.failed] == [(422, "the prompt is empty")]
    assert reply.raw["usage"]["items"] == 4


def test_free_answers(ask, language_url):
    options = {"max_tokens": 4, "samples": 3, "seed": 1}
    reply = ask(language_url, "score_prompts", ["The sea is", ("x", [" A", " B"])], answers=options)
    (free,) = reply.answered
    assert isinstance(free, AnsweredPrompt)
    assert (free.finish, free.calibrated, len(free.samples)) == ("length", False, 3)
    assert "".join(token.text for token in free.tokens) == free.text
    assert free.uncertainty["confidence"] == free.confidence
    assert 0 < free.consistency["agreement"] <= 1
    assert len(reply.scored) == 1
    (alone,) = ask(language_url, "score_prompts", ["The sea is"], answers={"max_tokens": 4}).answered
    assert (alone.text, alone.samples, alone.consistency) == (free.text, (), {})


def test_options_reach_the_server(ask, language_url):
    prompts = [(f"What is {word}? Answer:", (" A", " B")) for word in ("x", "blue", "the sea")]
    reply = ask(
        language_url, "score_prompts", prompts, "The sea.\n", "tiny-language", readout="text_length", sort="entropy"
    )
    assert reply.readout == "text_length"
    values = [item.uncertainty["entropy"].value for item in reply.scored]
    assert values == sorted(values, reverse=True)
    with pytest.raises(HowsureApiError, match="no score nonsense"):
        ask(language_url, "score_prompts", prompts, scores=["nonsense"])


def test_prompts_taken_together(ask, slice_predictor):
    prompts = [(f"What is {word}? Answer:", (" A", " B")) for word in ("x", "blue", "the sea")]
    with served(slice_predictor) as url:
        reply, without = ask(url, "score_prompts", prompts, slice=True), ask(url, "score_prompts", prompts)
    assert (reply.slice.items, len(reply.slice.curve)) == (3, 10)
    chances = [item.slice_confidence for item in reply.scored]
    assert reply.slice.mean_confidence == pytest.approx(sum(chances) / 3, abs=1e-6)
    assert without.slice is None
    assert [item.slice_confidence for item in without.scored] == [None] * 3
    assert [item.confidence for item in reply.scored] == pytest.approx([item.confidence for item in without.scored])
