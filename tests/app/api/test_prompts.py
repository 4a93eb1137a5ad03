"""`POST /v1/prompts/score` over a socket, with a tiny language model: forms of a prompt, options, errors, limits."""

import json
import math
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import httpx
import pytest
import torch

from app.scoring.prompt_predictor import PromptPredictor
from models.core.prompt_spec import PromptSpec, Readout
from models.language.calibrators import TASK_TEMPERATURE, prompt_calibrator
from models.language.continuations import ChoiceItem
from models.language.pipeline import LanguagePipeline, language_dimensions
from tests.fixtures.formed import served
from tests.fixtures.metrics import read_metrics
from tests.fixtures.problems import check_problem
from tests.fixtures.wire import connect, head

URL = "/v1/prompts/score"
JSON = {"Content-Type": "application/json"}
SKY = {"id": "sky", "prompt": "The sky is. Answer:", "choices": [" A", " B", " C"]}


@pytest.fixture(scope="module")
def language_url(prompt_predictor):
    with served(prompt_predictor, max_body_bytes=1_000_000, max_prompt_characters=2000) as url:
        yield url


@pytest.fixture(scope="module")
def language_client(language_url):
    with httpx.Client(base_url=language_url, timeout=60) as client:
        yield client


@pytest.fixture
def post(language_client):
    """`post(prompt, …, **fields of the request)`."""
    return lambda *prompts, **fields: language_client.post(URL, json={"prompts": list(prompts), **fields})


def item_of(response):
    assert response.status_code == 200, response.text
    (item,) = response.json()["data"]
    return item


def test_the_reply(post, prompt_predictor):
    response = post(SKY)
    body, item = response.json(), item_of(response)
    assert (body["object"], body["model"], body["version"]) == ("list", "tiny-language", 2)
    assert body["readout"] == item["readout"] == "next_token"
    tokens = len(prompt_predictor.pipeline.language.encode(SKY["prompt"]))
    assert body["usage"] == {"items": 1, "scored": 1, "failed": 0, "tokens": tokens}
    found = prompt_predictor.pipeline.answer(
        [ChoiceItem(SKY["prompt"], tuple(SKY["choices"]))], Readout.NEXT_TOKEN, scores=("entropy", "energy"), top_k=3
    ).answers
    place = int(found.class_index[0])
    assert (item["input"], item["label"], item["class_index"]) == ("sky", SKY["choices"][place], place)
    assert item["id"].startswith("pred_")
    assert item["calibrated"] is True
    assert item["confidence"] == pytest.approx(found.confidence[0], abs=1e-5)
    assert item["raw_confidence"] == pytest.approx(found.raw_confidence[0], abs=1e-5)
    assert [entry["class_index"] for entry in item["top"]] == found.top_index[0].tolist()
    assert [entry["label"] for entry in item["top"]] == [SKY["choices"][at] for at in found.top_index[0]]
    assert item["top"][0]["probability"] == item["confidence"] < item["raw_confidence"]
    for name, score in item["uncertainty"].items():
        assert score["value"] == pytest.approx(found.scores[name][0][0], abs=1e-4)
        assert 0 <= score["percentile"] <= 1
    assert item["uncertainty"].keys() == {"entropy", "energy"}


def test_a_question_gives_the_text_of_its_choice_and_is_read_by_its_letter(post):
    question = {"question": "What is blue?", "choices": ["the sea", "the sand", "a stone"]}
    written = "What is blue?\nA. the sea\nB. the sand\nC. a stone\nAnswer:"
    asked = item_of(post(question))
    by_hand = item_of(post({"prompt": written, "choices": [" A", " B", " C"]}))
    assert asked["label"] == question["choices"][asked["class_index"]]
    assert asked["readout"] == "next_token"
    differing = ("id", "label", "top")
    assert {name: value for name, value in asked.items() if name not in differing} == {
        name: value for name, value in by_hand.items() if name not in differing
    }


def test_a_subject_is_written_before_its_question(post, prompt_predictor):
    asked = {"question": "What is blue?", "choices": ["the sea", "the sand"], "subject": "high_school_geography"}
    line = "The following are multiple choice questions (with answers) about high school geography.\n\n"
    written = f"{line}What is blue?\nA. the sea\nB. the sand\nAnswer:"
    tokens = len(prompt_predictor.pipeline.language.encode(written))
    response = post(asked)
    assert response.json()["usage"]["tokens"] == tokens
    by_hand = item_of(post({"prompt": written, "choices": [" A", " B"]}))
    assert item_of(response)["confidence"] == pytest.approx(by_hand["confidence"], abs=1e-6)


def test_a_question_without_a_task_is_of_the_task_that_its_subject_names(prompt_predictor):
    language, spec = prompt_predictor.pipeline.language, PromptSpec(Readout.NEXT_TOKEN, ("geography",))
    by_task = prompt_calibrator(TASK_TEMPERATURE, language_dimensions(language), spec)
    by_task.load_state({"temperatures": torch.tensor([4.0, 1.0])})
    pipeline = LanguagePipeline(language, spec, by_task, {})
    asked = {"question": "What is blue?", "choices": ["the sea", "the sand"], "subject": "geography"}
    prompts = [asked, {**asked, "task": "geography"}, {**asked, "task": "another"}]
    with served(PromptPredictor("tiny-language", 2, prompt_predictor.manifest, pipeline)) as url:
        found = httpx.post(url + URL, json={"prompts": prompts}, timeout=60).json()["data"]
    without, named, other = (item["confidence"] for item in found)
    assert without == pytest.approx(named, abs=1e-6)
    assert other == pytest.approx(found[0]["raw_confidence"], abs=1e-6)
    assert other > without + 0.01


def test_a_conversation_goes_through_the_chat_template(post):
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "A or B?"}]
    asked = item_of(post({"messages": messages, "choices": [" A", " B"]}))
    by_hand = item_of(post({"prompt": "[system]be brief[user]A or B?[assistant]", "choices": [" A", " B"]}))
    assert asked["top"] == by_hand["top"]


def test_a_prefix_goes_before_every_prompt(post):
    shots = "What is the sea? Answer: A\n\n"
    prompts = [{"prompt": f"What is {n}? Answer:", "choices": [" A", " B"]} for n in range(3)]
    found = post(*prompts, prefix=shots).json()["data"]
    by_hand = post(*({**each, "prompt": shots + each["prompt"]} for each in prompts)).json()["data"]
    for one, other in zip(found, by_hand, strict=True):
        assert one["class_index"] == other["class_index"]
        assert one["confidence"] == pytest.approx(other["confidence"], abs=1e-5)


def test_every_prompt_says_how_it_was_read(post):
    words = {"prompt": "The sea is", "choices": [" blue as ever", " yellow"]}
    body = post(SKY, words).json()
    assert [(item["readout"], item["calibrated"]) for item in body["data"]] == [("next_token", True), ("text", False)]
    assert body["readout"] is None
    by_text = post(SKY, words, readout="text_length").json()
    assert [item["readout"] for item in by_text["data"]] == ["text_length"] * 2
    assert by_text["readout"] == "text_length"
    uncertainty = by_text["data"][0]["uncertainty"]["entropy"]
    assert uncertainty["percentile"] is None
    assert uncertainty["note"] == "percentiles are of choices read as next_token"
    check_problem(post(words, readout="next_token"), 422, "invalid")


def test_scores_top_k_and_order(post):
    prompts = [{**SKY, "id": None, "prompt": f"{word} Answer:"} for word in ("sea", "🌊", "x", "blue")]
    body = post(*prompts, {"prompt": "", "choices": ["a", "b"]}, scores=["entropy"], top_k=2, sort="entropy").json()
    assert body["data"][-1]["error"]["detail"] == "the prompt is empty"
    scored = body["data"][:-1]
    values = [item["uncertainty"]["entropy"]["value"] for item in scored]
    assert values == sorted(values, reverse=True)
    assert {item["input"] for item in scored} == {f"prompt-{n}" for n in range(4)}
    assert all(len(item["top"]) == 2 and list(item["uncertainty"]) == ["entropy"] for item in scored)


@pytest.mark.parametrize(
    "text", ["ما لون البحر؟", "e\u0301 \u202e abc \u202c", "🌊👩‍👩‍👧 \x00\x7f", "</s><s>", "{{ 7 * 7 }}", "a" * 200]
)
def test_text_of_every_kind_is_scored_and_comes_back_as_it_was(post, text):
    item = item_of(post({"id": text[:256], "prompt": text, "choices": [f" {text[:20]}", " x"]}, readout="text"))
    assert item["input"] == text
    assert {entry["label"] for entry in item["top"]} == {f" {text[:20]}", " x"}


def test_64_choices_and_the_shortest_prompt(post):
    choices = [f" {number}" for number in range(64)]
    item = item_of(post({"prompt": "x", "choices": choices}, top_k=64))
    assert [entry["label"] for entry in sorted(item["top"], key=lambda entry: entry["class_index"])] == choices
    assert sum(entry["probability"] for entry in item["top"]) == pytest.approx(1, abs=1e-5)


def test_a_bad_prompt_among_good_ones_and_only_bad_ones(post):
    bad = [
        {"id": "empty", "prompt": "", "choices": [" A", " B"]},
        {"id": "one", "prompt": "x", "choices": [" A"]},
        {"id": "long", "prompt": "x" * 1000 + "🌊" * 200, "choices": [" A", " B"]},
        {"id": "longer", "prompt": "x" * 2000, "choices": [" A", " B"]},
    ]
    body = post(*bad, SKY).json()
    assert body["usage"] | {"tokens": 0} == {"items": 5, "scored": 1, "failed": 4, "tokens": 0}
    assert [item["input"] for item in body["data"]] == ["empty", "one", "long", "longer", "sky"]
    assert [item["error"]["status"] for item in body["data"][:4]] == [422, 422, 422, 413]
    assert "the model's context is 256" in body["data"][2]["error"]["detail"]
    problem = check_problem(post(*bad), 422, "invalid")
    assert problem["detail"] == "none of the 4 prompts could be scored"
    assert [error["input"] for error in problem["errors"]] == ["empty", "one", "long", "longer"]
    assert check_problem(post(bad[0]), 422, "invalid")["detail"] == "the prompt is empty"
    check_problem(post(bad[3]), 413, "payload_too_large")


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


def test_what_cannot_be_read_or_is_too_much(language_client, post):
    for content_type in ("text/plain", "multipart/form-data; boundary=b", "application/jsonp", ""):
        response = language_client.post(URL, content=b"{}", headers={"Content-Type": content_type})
        check_problem(response, 415, "unsupported_media_type")
    response = language_client.post(URL, params={"top_k": 1}, json={"prompts": [SKY]})
    assert "say it in the body" in check_problem(response, 422, "invalid")["detail"]
    check_problem(post(*[SKY] * 65), 413, "payload_too_large")
    check_problem(post({"prompt": "x" * 1_000_001, "choices": [" A", " B"]}), 413, "payload_too_large")
    check_problem(post(SKY, model="nothing"), 404, "not_found")
    problem = check_problem(
        language_client.post(
            "/v1/images/score", content=b"x", headers={"Content-Type": "image/png"}, params={"model": "tiny-language"}
        ),
        422,
    )
    assert "POST them to /v1/prompts/score" in problem["detail"]


def test_free_answers_with_samples(post, prompt_predictor):
    prompts = [{"id": "free", "prompt": "The sea is"}, {"prompt": ""}, SKY]
    body = post(*prompts, max_tokens=6, samples=4, seed=3, scores=["entropy"]).json()
    free, failed, scored = body["data"]
    assert (free["input"], free["finish"], free["calibrated"]) == ("free", "length", False)
    assert len(free["tokens"]) == 6
    assert "".join(token["text"] for token in free["tokens"]) == free["text"]
    confidences = [token["confidence"] for token in free["tokens"]]
    assert free["confidence"] == pytest.approx(math.prod(confidences) ** (1 / 6), rel=1e-4)
    assert free["uncertainty"]["lowest_confidence"] == pytest.approx(min(confidences), rel=1e-5)
    assert len(free["samples"]) == 4
    frequent = Counter(free["samples"]).most_common(1)[0][1]
    assert free["consistency"]["agreement"] >= frequent / 4
    assert failed["error"]["detail"] == "the prompt is empty"
    assert scored["readout"] == body["readout"] == "next_token"
    assert body["usage"]["scored"] == 2
    again = post(prompts[0], max_tokens=6, samples=4, seed=3).json()
    assert again["data"][0]["samples"] == free["samples"]
    assert again["readout"] is None
    without = item_of(post(prompts[0], max_tokens=6))
    assert without["text"] == free["text"]
    assert not {"samples", "consistency"} & without.keys()


def test_server_timing_names_the_stages(post):
    stages = dict(entry.split(";dur=") for entry in post(SKY).headers["server-timing"].split(", "))
    assert float(stages["tokenise"]) <= float(stages["score"]) <= float(stages["total"])


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
