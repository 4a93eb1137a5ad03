"""`POST /v1/prompts/score` over a socket: what is refused, for its form or for want of room, or dropped."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import httpx
import pytest

from tests.fixtures.formed import served
from tests.fixtures.metrics import read_metrics
from tests.fixtures.problems import check_problem
from tests.fixtures.wire import connect, head

URL = "/v1/prompts/score"
SKY = {"id": "sky", "prompt": "The sky is. Answer:", "choices": [" A", " B", " C"]}
JSON = {"Content-Type": "application/json"}


def test_a_bad_prompt_among_good_ones_and_only_bad_ones(post_prompts):
    bad = [
        {"id": "empty", "prompt": "", "choices": [" A", " B"]},
        {"id": "one", "prompt": "x", "choices": [" A"]},
        {"id": "long", "prompt": "x" * 1000 + "🌊" * 200, "choices": [" A", " B"]},
        {"id": "longer", "prompt": "x" * 2000, "choices": [" A", " B"]},
    ]
    body = post_prompts(*bad, SKY).json()
    assert body["usage"] | {"tokens": 0} == {"items": 5, "scored": 1, "failed": 4, "tokens": 0}
    assert [item["input"] for item in body["data"]] == ["empty", "one", "long", "longer", "sky"]
    assert [item["error"]["status"] for item in body["data"][:4]] == [422, 422, 422, 413]
    assert "the model's context is 256" in body["data"][2]["error"]["detail"]
    problem = check_problem(post_prompts(*bad), 422, "invalid")
    assert problem["detail"] == "none of the 4 prompts could be scored"
    assert [error["input"] for error in problem["errors"]] == ["empty", "one", "long", "longer"]
    assert check_problem(post_prompts(bad[0]), 422, "invalid")["detail"] == "the prompt is empty"
    check_problem(post_prompts(bad[3]), 413, "payload_too_large")


FREE = b'{"prompts": [{"prompt": "x"}], '
PROMPT = b'{"prompts": [{"prompt": "x", "choices": [" A", " B"]'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"prompts": []}',
        b'{"prompts": [{"choices": [" A", " B"]}]}',
        b'{"prompts": [{"question": "x"}]}',
        b'{"prompts": [{"prompt": "x", "task": "t"}]}',
        b'{"prompts": [{"prompt": "x", "subject": "s", "choices": [" A", " B"]}]}',
        b'{"prompts": [{"prompt": "x", "question": "x", "choices": [" A", " B"]}]}',
        b'{"prompts": [{"prompt": 5, "choices": [" A", " B"]}]}',
        b'{"prompts": [{"prompt": "x", "choices": " A"}]}',
        b'{"prompts": [{"prompt": "x", "choices": [" A", 5]}]}',
        b'{"prompts": [{"prompt": "\\ud800", "choices": [" A", " B"]}]}',
        b'{"prompts": [{"prompt": "\xff\xfe", "choices": [" A", " B"]}]}',
        b'{"prompts": [{"messages": [], "choices": [" A", " B"]}]}',
        b'{"prompts": [{"messages": [{"role": "user"}], "choices": [" A", " B"]}]}',
        b'{"prompts": [{"messages": [{"role": "u", "content": "x"}], "choices": [" A", " B"]}], "prefix": "x"}',
        b'{"prompts": ' + b"[" * 100_000,
        PROMPT + b', "temperature": 1}]}',
        PROMPT + b'}], "samples": 3}',
        PROMPT + b'}], "max_tokens": 3}',
        PROMPT + b'}, {"prompt": "x"}], "sort": "entropy"}',
        FREE + b'"scores": ["entropy"]}',
        FREE + b'"readout": "text"}',
        FREE + b'"top_k": 1}',
        FREE + b'"temperature": 1}',
        FREE + b'"samples": 1}',
        FREE + b'"samples": 3, "temperature": 0}',
        FREE + b'"samples": 3, "temperature": NaN}',
        FREE + b'"stop": [""]}',
        FREE + b'"stop": "x"}',
        PROMPT + b'}], "top_k": 0}',
        PROMPT + b'}], "top_k": 65}',
        PROMPT + b'}], "top_k": "3"}',
        PROMPT + b'}], "readout": "letters"}',
        PROMPT + b'}], "scores": ["luck"]}',
        PROMPT + b'}], "sort": "luck"}',
        PROMPT + b'}], "prefix": null}',
    ],
)
def test_what_does_not_fit_is_refused(language_client, body):
    problem = check_problem(language_client.post(URL, content=body, headers=JSON), 422, "invalid")
    assert all(error["pointer"].startswith("/") and error["detail"] for error in problem["errors"])


def test_what_cannot_be_read_or_is_too_much(language_client, post_prompts):
    for content_type in ("text/plain", "multipart/form-data; boundary=b", "application/jsonp", ""):
        response = language_client.post(URL, content=b"{}", headers={"Content-Type": content_type})
        check_problem(response, 415, "unsupported_media_type")
    response = language_client.post(URL, params={"top_k": 1}, json={"prompts": [SKY]})
    assert "say it in the body" in check_problem(response, 422, "invalid")["detail"]
    check_problem(post_prompts(*[SKY] * 65), 413, "payload_too_large")
    check_problem(post_prompts({"prompt": "x" * 1_000_001, "choices": [" A", " B"]}), 413, "payload_too_large")
    check_problem(post_prompts(SKY, model="nothing"), 404, "not_found")
    problem = check_problem(
        language_client.post(
            "/v1/images/score", content=b"x", headers={"Content-Type": "image/png"}, params={"model": "tiny-language"}
        ),
        422,
    )
    assert "POST them to /v1/prompts/score" in problem["detail"]


def test_prompts_with_choices_and_answers_have_a_queue_each_and_both_need_room_before_any_begins(held):
    with served(held, queue_items=4, max_items=4) as url, ThreadPoolExecutor(1) as other:

        def post(*prompts, **fields):
            return httpx.post(url + URL, json={"prompts": prompts, **fields}, timeout=30)

        waiting = other.submit(post, *[SKY] * 4)
        assert held.begun.wait(10)
        check_problem(post(SKY), 429, "queue_full")
        assert post({"prompt": "x"}, max_tokens=1).status_code == 200
        held.go.set()
        assert waiting.result().status_code == 200
        problem = check_problem(post(SKY, {"prompt": "x"}, samples=4), 413, "payload_too_large")
        assert problem["detail"] == "5 answers in a request with the samples, at most 4 allowed"
        labels = (("model", "tiny-language"), ("outcome", "scored"))
        assert read_metrics(url)["howsure_items_total", labels] == 5


def test_the_work_of_a_client_that_left_is_dropped(held):
    """Its places are free although the model is still at the first batch, and what had not begun never runs."""
    body = json.dumps({"prompts": [SKY] * 64}).encode()
    request = head("POST", URL, content_type="application/json", content_length=len(body)) + body
    with served(held, queue_items=128) as url:
        connections = [connect(SimpleNamespace(url=url)) for _ in range(2)]
        for connection in connections:
            connection.sendall(request)
        assert held.begun.wait(10)
        for connection in connections:
            connection.close()
        deadline = time.monotonic() + 10
        while (found := read_metrics(url))["howsure_queue_items", ()] and time.monotonic() < deadline:
            time.sleep(0.02)
        held.go.set()
        assert found["howsure_queue_items", ()] == 0
        labels = (("method", "POST"), ("route", URL), ("status", "499"))
        assert found["howsure_requests_total", labels] == 2
        assert httpx.post(url + URL, json={"prompts": [SKY]}, timeout=30).status_code == 200
