"""`POST /v1/chat/completions` over a socket, by OpenAI's client."""

import math

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from models.language.consistency import canonical, consistency
from models.language.generation.answers import answer
from models.language.generation.decoding import Prompt
from models.language.generation.sampling import Sampling
from tests.app.api.openai.conftest import MODEL

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is blue?"}]
SAMPLED = {"model": MODEL, "messages": MESSAGES, "max_tokens": 24, "seed": 11, "temperature": 1.3, "top_p": 0.95}


def expected(predictor, count=1, **sampling):
    language = predictor.pipeline.language
    asked = Sampling(**({"max_tokens": 24, "seed": 11, "temperature": 1.3, "top_p": 0.95} | sampling))
    return answer(language, [Prompt(language.encode(language.chat(MESSAGES)), asked, count)])[0]


def streamed(client, **asked):
    """Text, tokens, finish and uncertainty of each answer, put together from chunks; and the chunks."""
    chunks = list(client.chat.completions.create(stream=True, **asked))
    found = {}
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk.model_dump())
        for choice in chunk.choices:
            at = found.setdefault(choice.index, {"text": "", "tokens": [], "finish": None, "uncertainty": None})
            at["text"] += choice.delta.content or ""
            at["tokens"] += [each.model_dump() for each in choice.logprobs.content] if choice.logprobs else []
            assert at["finish"] is None, "nothing comes after the end"
            at["finish"], at["uncertainty"] = choice.finish_reason, getattr(choice, "uncertainty", None)
    return [found[number] for number in sorted(found)], chunks


def test_the_reply_is_openai_s_and_the_answer_the_model_s(client, plain_prompt_predictor):
    reply = client.chat.completions.create(**SAMPLED)
    ChatCompletion.model_validate(reply.model_dump())
    (mine,) = expected(plain_prompt_predictor)
    (choice,) = reply.choices
    assert (choice.message.content, choice.finish_reason) == (mine.text, "length")
    assert choice.logprobs is None
    assert (reply.model, reply.version, reply.consistency) == (MODEL, 1, None)
    assert reply.usage.completion_tokens == len(mine.tokens) == 24
    language = plain_prompt_predictor.pipeline.language
    assert reply.usage.prompt_tokens == len(language.encode(language.chat(MESSAGES)))
    values = [token.log_probability for token in mine.tokens]
    assert choice.uncertainty == pytest.approx(
        {
            "log_probability": sum(values),
            "mean_log_probability": sum(values) / 24,
            "confidence": math.exp(sum(values) / 24),
            "mean_entropy": sum(token.entropy for token in mine.tokens) / 24,
            "lowest_confidence": math.exp(min(values)),
            "calibrated": False,
        },
        rel=1e-4,
    )


def test_streamed_answers_are_those_that_come_whole(client):
    asked = SAMPLED | {"n": 3, "logprobs": True, "top_logprobs": 4, "stop": ["e", "🌊"]}
    whole = client.chat.completions.create(**asked)
    answers, chunks = streamed(client, **asked, stream_options={"include_usage": True})
    for choice, found in zip(whole.choices, answers, strict=True):
        assert found["text"] == choice.message.content
        assert found["finish"] == choice.finish_reason
        assert found["uncertainty"] == choice.uncertainty
        tokens = [each.model_dump() for each in choice.logprobs.content]
        for one, other in zip(found["tokens"], tokens, strict=True):
            assert one["token"] == other["token"]
            assert one["logprob"] == pytest.approx(other["logprob"], abs=1e-4)
    assert chunks[-1].usage == whole.usage
    assert not chunks[-1].choices
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert [chunk.consistency for chunk in chunks if chunk.model_extra.get("consistency")] == [whole.consistency]


def test_log_probabilities_are_those_before_temperature(client, plain_prompt_predictor):
    reply = client.chat.completions.create(**SAMPLED, logprobs=True, top_logprobs=20)
    (mine,) = expected(plain_prompt_predictor, alternatives=20)
    tokens = reply.choices[0].logprobs.content
    for found, token in zip(tokens, mine.tokens, strict=True):
        assert bytes(found.bytes) == token.content
        assert found.logprob == pytest.approx(token.log_probability, abs=1e-4)
        assert [bytes(each.bytes) for each in found.top_logprobs] == [each.content for each in token.alternatives]
    assert b"".join(bytes(each.bytes) for each in tokens).decode(errors="replace") == mine.text


def test_answers_of_one_request_differ_and_their_consistency_is_told(client, plain_prompt_predictor):
    reply = client.chat.completions.create(**SAMPLED, n=5)
    texts = [choice.message.content for choice in reply.choices]
    assert texts == [each.text for each in expected(plain_prompt_predictor, count=5)]
    found = consistency([canonical(text) for text in texts])
    assert reply.consistency == {
        "agreement": pytest.approx(found.agreement),
        "entropy_consistency": pytest.approx(found.entropy_consistency),
        "first_second_distance": pytest.approx(found.first_second_distance),
        "distinct": found.distinct,
    }
    same = client.chat.completions.create(**SAMPLED | {"temperature": 0}, n=3)
    assert (same.consistency["agreement"], same.consistency["distinct"]) == (1, 1)


def test_an_answer_ends_before_a_stop_string(client, plain_prompt_predictor):
    (free,) = expected(plain_prompt_predictor)
    stop = free.text[6:9]
    reply = client.chat.completions.create(**SAMPLED, stop=stop)
    assert reply.choices[0].message.content == free.text[: free.text.index(stop)]
    assert reply.choices[0].finish_reason == "stop"


def test_an_answer_is_as_long_as_the_context_allows(client, plain_prompt_predictor):
    long = [{"role": "user", "content": "x" * 225}]  # leaves room for few tokens, none of which ends the answer
    asked = {"model": MODEL, "messages": long, "temperature": 0}
    for limit in ({"max_tokens": 100_000}, {"max_completion_tokens": 100_000}, {}):
        reply = client.chat.completions.create(**asked, **limit)
        assert reply.choices[0].finish_reason == "length"
        assert reply.usage.total_tokens == plain_prompt_predictor.pipeline.language.context


def test_content_may_be_parts_of_text_and_an_answer_is_sent_back_as_it_came(client):
    parts = [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}]
    one = client.chat.completions.create(**SAMPLED | {"messages": [{"role": "developer", "content": parts}]})
    other = client.chat.completions.create(**SAMPLED | {"messages": [{"role": "system", "content": "Be\nbrief."}]})
    assert one.choices[0].message.content == other.choices[0].message.content
    said = one.choices[0].message
    again = [*MESSAGES, said, {"role": "user", "content": "And now?"}]
    assert client.chat.completions.create(**SAMPLED | {"messages": again, "max_tokens": 2}).choices


def test_values_that_change_nothing_are_let_pass(client):
    neutral = {"frequency_penalty": 0, "presence_penalty": 0, "user": "me", "response_format": {"type": "text"}}
    plain = client.chat.completions.create(**SAMPLED)
    reply = client.chat.completions.create(**SAMPLED, **neutral, store=False, logit_bias={}, tool_choice="none")
    assert reply.choices[0].message == plain.choices[0].message


@pytest.mark.parametrize("text", ["🌊🌊", "ما لون البحر؟", "x"])
def test_text_in_any_script_is_answered(client, text):
    reply = client.chat.completions.create(**SAMPLED | {"messages": [{"role": "user", "content": text}]})
    assert reply.choices[0].finish_reason in ("stop", "length")


def test_models_are_listed_for_the_client(client):
    from openai.types import Model

    assert MODEL in [model.id for model in client.models.list()]
    one = client.models.retrieve(MODEL)
    assert Model.model_validate(one.model_dump()).owned_by == "howsure"
