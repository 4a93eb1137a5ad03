"""`POST /v1/completions` over a socket, by OpenAI's client."""

import pytest
from openai.types import Completion

from models.language.generation.answers import answer
from models.language.generation.decoding import Prompt
from models.language.generation.sampling import Sampling
from tests.app.api.openai.conftest import MODEL

ASKED = {"model": MODEL, "prompt": "The sea is", "max_tokens": 20, "seed": 5}


def expected(predictor, prompt, count=1, **sampling):
    language = predictor.pipeline.language
    asked = Sampling(**({"max_tokens": 20, "seed": 5} | sampling))
    return answer(language, [Prompt(language.encode(prompt), asked, count)])[0]


def test_the_reply_is_openai_s_and_goes_on_from_the_text_as_it_is(client, plain_prompt_predictor):
    reply = client.completions.create(**ASKED)
    Completion.model_validate(reply.model_dump())
    (mine,) = expected(plain_prompt_predictor, ASKED["prompt"])
    assert (reply.choices[0].text, reply.choices[0].finish_reason) == (mine.text, "length")
    assert reply.choices[0].uncertainty["log_probability"] == pytest.approx(
        sum(token.log_probability for token in mine.tokens), rel=1e-4
    )
    short = client.completions.create(model=MODEL, prompt="The sea is", temperature=0)
    assert short.usage.completion_tokens <= 16


def test_several_prompts_get_n_answers_each_in_order(client, plain_prompt_predictor):
    texts = ["The sea is", "🌊", "x y z"]
    reply = client.completions.create(**ASKED | {"prompt": texts}, n=2)
    found = [choice.text for choice in reply.choices]
    assert found == [each.text for text in texts for each in expected(plain_prompt_predictor, text, count=2)]
    assert [choice.index for choice in reply.choices] == list(range(6))
    assert len(reply.consistency) == 3


def test_tokens_may_be_sent_for_text(client, plain_prompt_predictor):
    tokens = plain_prompt_predictor.pipeline.language.encode("The sea is")
    text = client.completions.create(**ASKED).choices[0].text
    assert client.completions.create(**ASKED | {"prompt": tokens}).choices[0].text == text
    both = client.completions.create(**ASKED | {"prompt": [tokens, tokens[:1]]})
    assert both.choices[0].text == text


def test_log_probabilities_have_the_old_shape(client, plain_prompt_predictor):
    reply = client.completions.create(**ASKED, logprobs=3)
    (mine,) = expected(plain_prompt_predictor, ASKED["prompt"], alternatives=3)
    found = reply.choices[0].logprobs
    assert found.token_logprobs == pytest.approx([token.log_probability for token in mine.tokens], abs=1e-4)
    for token, best, written, offset, after in zip(
        mine.tokens, found.top_logprobs, found.tokens, found.text_offset, [*found.text_offset[1:], None], strict=True
    ):
        assert 3 <= len(best) <= 4
        assert best[written] == pytest.approx(token.log_probability, abs=1e-4)
        assert reply.choices[0].text[offset:after] == token.text
        if b"\xef\xbf\xbd" not in token.content.decode(errors="replace").encode():
            assert written.encode() == token.content
        else:
            assert written.startswith("bytes:\\x")
    assert len(client.completions.create(**ASKED, logprobs=0).choices[0].logprobs.top_logprobs[0]) == 1


def test_streamed_answers_are_those_that_come_whole(client):
    asked = ASKED | {"prompt": ["The sea is", "🌊"], "n": 2, "logprobs": 2, "stop": "a"}
    whole = client.completions.create(**asked)
    found = {number: {"text": "", "offsets": [], "finish": None} for number in range(4)}
    chunks = list(client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    for chunk in chunks:
        Completion.model_validate(chunk.model_dump() | {"choices": []})
        for choice in chunk.choices:
            at = found[choice.index]
            at["text"] += choice.text
            at["offsets"] += choice.logprobs.text_offset
            at["finish"] = choice.finish_reason
    for choice in whole.choices:
        assert found[choice.index] == {
            "text": choice.text,
            "offsets": choice.logprobs.text_offset,
            "finish": choice.finish_reason,
        }
    assert chunks[-1].usage == whole.usage
    assert chunks[-2].consistency == whole.consistency
