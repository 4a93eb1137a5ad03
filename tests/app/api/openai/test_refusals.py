"""What these routes refuse, in OpenAI's form of an error; and clients that leave."""

import json
import time

import httpx
import openai
import pytest

from tests.app.api.openai.conftest import MODEL
from tests.fixtures.formed import served

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
SAID = [{"role": "user", "content": "x"}]
ROUTES = {CHAT: {"model": MODEL, "messages": SAID}, TEXT: {"model": MODEL, "prompt": "x"}}


def refused(plain, route, wrong, status=400):
    reply = plain.post(route, json=ROUTES[route] | wrong)
    assert (reply.status_code, reply.headers["content-type"]) == (status, "application/json"), reply.text
    error = reply.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return error


@pytest.mark.parametrize(
    ("route", "wrong", "param"),
    [
        (CHAT, {"tools": [{"type": "function"}]}, "tools"),
        (CHAT, {"response_format": {"type": "json_object"}}, "response_format.type"),
        (CHAT, {"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
        (CHAT, {"messages": []}, "messages"),
        (CHAT, {"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        (CHAT, {"messages": [{"role": "user"}]}, "messages.0.content"),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content"),
        (CHAT, {"messages": [*SAID, {"role": "user", "content": "x", "name": "me"}]}, "messages.1.name"),
        (CHAT, {"audio": {}}, "audio"),
        (CHAT, {"frequency_penalty": 0.5}, "frequency_penalty"),
        (TEXT, {"best_of": 2}, "best_of"),
        (TEXT, {"echo": True}, "echo"),
        (TEXT, {"suffix": "x"}, "suffix"),
        (TEXT, {"logit_bias": {"5": 1}}, "logit_bias"),
        (TEXT, {"logprobs": 6}, "logprobs"),
        (TEXT, {"prompt": []}, "prompt"),
        (TEXT, {"prompt": ["x", 5]}, "prompt"),
        (TEXT, {"prompt": [True]}, "prompt"),
        (TEXT, {"n": 0}, "n"),
        (TEXT, {"temperature": 2.1}, "temperature"),
        (TEXT, {"temperature": "1"}, "temperature"),
        (TEXT, {"top_p": -0.1}, "top_p"),
        (TEXT, {"seed": 2**63}, "seed"),
        (TEXT, {"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        (TEXT, {"stop": ""}, "stop.0"),
        (TEXT, {"max_tokens": 0}, "max_tokens"),
        (TEXT, {"made_up": 1}, "made_up"),
    ],
)
def test_what_is_not_supported_is_refused_and_named(plain, route, wrong, param):
    error = refused(plain, route, wrong)
    assert (error["param"], error["type"]) == (param, "invalid_request_error")
    assert error["message"].startswith(f"{param}: ")


@pytest.mark.parametrize(
    ("route", "wrong", "says"),
    [
        (CHAT, {"top_logprobs": 1}, "needs logprobs"),
        (CHAT, {"max_tokens": 1, "max_completion_tokens": 2}, "send one of them"),
        (TEXT, {"stream_options": {"include_usage": True}}, "only for stream"),
        (TEXT, {"prompt": ""}, "prompt is empty"),
        (TEXT, {"prompt": [100_000]}, "outside 0..339"),
        (TEXT, {"prompt": "x" * 256}, "256 tokens, which leaves no room to answer"),
        (TEXT, {"prompt": "half \ud83d"}, ""),
    ],
)
def test_requests_that_cannot_be_answered_say_why(plain, route, wrong, says):
    body = json.dumps(ROUTES[route] | wrong).encode()
    reply = plain.post(route, content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == 400
    assert says in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("route", "wrong"),
    [
        (TEXT, {"prompt": "x" * 200_001}),
        (TEXT, {"prompt": [100_000] * 200_001}),
        (CHAT, {"messages": [{"role": "assistant", "content": "x" * 20}] * 9000}),
        (CHAT, {"messages": [{"role": "user", "content": "x" * 199_990}]}),  # the template writes some more
    ],
    ids=["text", "tokens", "roles", "template"],
)
def test_more_text_than_allowed_is_too_large(plain, route, wrong):
    assert "longer than 200000 characters" in refused(plain, route, wrong, 413)["message"]


def test_more_answers_than_allowed_are_too_large_whatever_the_prompts_are(plain):
    assert "130 answers" in refused(plain, TEXT, {"prompt": ["x", ""] * 65}, 413)["message"]
    assert "130 answers" in refused(plain, TEXT, {"prompt": ["x"] * 65, "n": 2}, 413)["message"]


def test_a_body_of_more_bytes_than_allowed_is_too_large(plain):
    body = b'{"prompt": "' + b"x" * (33 * 2**20) + b'"}'
    reply = plain.post(TEXT, content=body, headers={"Content-Type": "application/json"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "payload_too_large")


def test_the_client_raises_its_own_errors(client):
    with pytest.raises(openai.NotFoundError) as found:
        client.completions.create(model="nobody", prompt="x")
    assert found.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as found:
        client.completions.create(model=MODEL, prompt="x", best_of=3)
    assert found.value.param == "best_of"
    stranger = client.with_options(api_key="wrong")
    with pytest.raises(openai.AuthenticationError) as found:
        stranger.completions.create(model=MODEL, prompt="x")
    assert found.value.code == "invalid_api_key"


@pytest.mark.parametrize(
    ("method", "content", "media_type", "status"),
    [("GET", b"", "", 405), ("POST", b"{", "application/json", 400), ("POST", b"x", "text/plain", 415)],
)
def test_other_errors_have_the_same_form(plain, method, content, media_type, status):
    reply = plain.request(method, TEXT, content=content, headers={"Content-Type": media_type})
    assert reply.status_code == status
    assert reply.json()["error"]["type"] == "invalid_request_error"


@pytest.fixture
def slow(plain_prompt_predictor, monkeypatch):
    network = plain_prompt_predictor.pipeline.language.network.base_model
    forward = network.forward
    monkeypatch.setattr(network, "forward", lambda **given: time.sleep(0.02) or forward(**given))


LONG = {"model": MODEL, "prompt": "x", "max_tokens": 200, "temperature": 0.5, "seed": 1}


def in_house(url):
    return float(httpx.get(f"{url}/metrics").text.split("\nhowsure_queue_items ")[1].split()[0])


def test_a_client_that_leaves_frees_its_slot_and_a_full_queue_is_429(plain_prompt_predictor, slow):
    with served(plain_prompt_predictor, queue_items=1, max_items=1, threads=1) as url:
        for stream in (True, False):
            client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=0.4)
            if stream:
                events = client.completions.create(**LONG, stream=True)
                next(iter(events))
                with pytest.raises(openai.RateLimitError) as full:
                    client.completions.create(**LONG)
                assert int(full.value.response.headers["retry-after"]) >= 1
                events.close()
            else:
                with pytest.raises(openai.APITimeoutError):
                    client.completions.create(**LONG)
            client.close()
            left, deadline = time.monotonic(), time.monotonic() + 10
            while in_house(url) and time.monotonic() < deadline:
                time.sleep(0.02)
            assert time.monotonic() - left < 2, "200 tokens would have taken 4 s"


def test_a_stream_that_fails_on_its_way_says_so_to_the_client(plain_prompt_predictor, slow):
    with (
        served(plain_prompt_predictor, answer_seconds=0.3, threads=1) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        told = iter(client.completions.create(**LONG, stream=True))
        assert next(told).choices
        with pytest.raises(openai.APIError, match="not whole within"):
            list(told)
        with pytest.raises(openai.InternalServerError) as late:
            client.completions.create(**LONG)
        assert (late.value.status_code, late.value.code) == (504, "timed_out")
