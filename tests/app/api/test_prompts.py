"""`POST /v1/prompts/score` over a socket, with a tiny language model: forms of a prompt, readouts, options."""

import math
from collections import Counter

import httpx
import pytest
import torch

from app.scoring.prompt_predictor import PromptPredictor
from models.core.prompt_spec import PromptSpec, Readout
from models.language.calibrators import TASK_TEMPERATURE, prompt_calibrator
from models.language.continuations import ChoiceItem
from models.language.pipeline import LanguagePipeline, language_dimensions
from tests.fixtures.formed import served
from tests.fixtures.problems import check_problem

URL = "/v1/prompts/score"
SKY = {"id": "sky", "prompt": "The sky is. Answer:", "choices": [" A", " B", " C"]}


def item_of(response):
    assert response.status_code == 200, response.text
    (item,) = response.json()["data"]
    return item


def test_the_reply(post_prompts, prompt_predictor):
    response = post_prompts(SKY)
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


def test_a_question_gives_the_text_of_its_choice_and_is_read_by_its_letter(post_prompts):
    question = {"question": "What is blue?", "choices": ["the sea", "the sand", "a stone"]}
    written = "What is blue?\nA. the sea\nB. the sand\nC. a stone\nAnswer:"
    asked = item_of(post_prompts(question))
    by_hand = item_of(post_prompts({"prompt": written, "choices": [" A", " B", " C"]}))
    assert asked["label"] == question["choices"][asked["class_index"]]
    assert asked["readout"] == "next_token"
    differing = ("id", "label", "top")
    assert {name: value for name, value in asked.items() if name not in differing} == {
        name: value for name, value in by_hand.items() if name not in differing
    }


def test_a_subject_is_written_before_its_question(post_prompts, prompt_predictor):
    asked = {"question": "What is blue?", "choices": ["the sea", "the sand"], "subject": "high_school_geography"}
    line = "The following are multiple choice questions (with answers) about high school geography.\n\n"
    written = f"{line}What is blue?\nA. the sea\nB. the sand\nAnswer:"
    tokens = len(prompt_predictor.pipeline.language.encode(written))
    response = post_prompts(asked)
    assert response.json()["usage"]["tokens"] == tokens
    by_hand = item_of(post_prompts({"prompt": written, "choices": [" A", " B"]}))
    assert item_of(response)["confidence"] == pytest.approx(by_hand["confidence"], abs=1e-6)


def test_a_subject_may_name_the_task_and_an_unknown_task_is_refused(
    prompt_predictor,
):
    language, spec = prompt_predictor.pipeline.language, PromptSpec(Readout.NEXT_TOKEN, ("geography",))
    by_task = prompt_calibrator(TASK_TEMPERATURE, language_dimensions(language), spec)
    by_task.load_state({"temperatures": torch.tensor([4.0, 1.0])})
    pipeline = LanguagePipeline(language, spec, by_task, {})
    asked = {"question": "What is blue?", "choices": ["the sea", "the sand"], "subject": "geography"}
    prompts = [asked, {**asked, "task": "geography"}, {**asked, "subject": "another"}, {**asked, "task": "Geography"}]
    with served(PromptPredictor("tiny-language", 2, prompt_predictor.manifest, pipeline)) as url:
        found = httpx.post(url + URL, json={"prompts": prompts}, timeout=60).json()["data"]
    without, named, other = (item["confidence"] for item in found[:3])
    assert without == pytest.approx(named, abs=1e-6)
    assert other == pytest.approx(found[2]["raw_confidence"], abs=1e-6)
    assert other != pytest.approx(without, abs=0.01)
    assert found[3]["error"]["detail"] == "no task 'Geography'; there are geography: leave it out for any other"


def test_a_conversation_goes_through_the_chat_template(post_prompts):
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "A or B?"}]
    asked = item_of(post_prompts({"messages": messages, "choices": [" A", " B"]}))
    by_hand = item_of(post_prompts({"prompt": "[system]be brief[user]A or B?[assistant]", "choices": [" A", " B"]}))
    assert asked["top"] == by_hand["top"]


def test_a_prefix_goes_before_every_prompt(post_prompts):
    shots = "What is the sea? Answer: A\n\n"
    prompts = [{"prompt": f"What is {n}? Answer:", "choices": [" A", " B"]} for n in range(3)]
    found = post_prompts(*prompts, prefix=shots).json()["data"]
    by_hand = post_prompts(*({**each, "prompt": shots + each["prompt"]} for each in prompts)).json()["data"]
    for one, other in zip(found, by_hand, strict=True):
        assert one["class_index"] == other["class_index"]
        assert one["confidence"] == pytest.approx(other["confidence"], abs=1e-5)


def test_every_prompt_says_how_it_was_read(post_prompts):
    words = {"prompt": "The sea is", "choices": [" blue as ever", " yellow"]}
    body = post_prompts(SKY, words).json()
    assert [(item["readout"], item["calibrated"]) for item in body["data"]] == [("next_token", True), ("text", False)]
    assert body["readout"] is None
    by_text = post_prompts(SKY, words, readout="text_length").json()
    assert [item["readout"] for item in by_text["data"]] == ["text_length"] * 2
    assert by_text["readout"] == "text_length"
    uncertainty = by_text["data"][0]["uncertainty"]["entropy"]
    assert uncertainty["percentile"] is None
    assert uncertainty["note"] == "percentiles are of choices read as next_token"
    check_problem(post_prompts(words, readout="next_token"), 422, "invalid")


def test_scores_top_k_and_order(post_prompts):
    prompts = [{**SKY, "id": None, "prompt": f"{word} Answer:"} for word in ("sea", "🌊", "x", "blue")]
    body = post_prompts(
        *prompts, {"prompt": "", "choices": ["a", "b"]}, scores=["entropy"], top_k=2, sort="entropy"
    ).json()
    assert body["data"][-1]["error"]["detail"] == "the prompt is empty"
    scored = body["data"][:-1]
    values = [item["uncertainty"]["entropy"]["value"] for item in scored]
    assert values == sorted(values, reverse=True)
    assert {item["input"] for item in scored} == {f"prompt-{n}" for n in range(4)}
    assert all(len(item["top"]) == 2 and list(item["uncertainty"]) == ["entropy"] for item in scored)


@pytest.mark.parametrize(
    "text", ["ما لون البحر؟", "e\u0301 \u202e abc \u202c", "🌊👩‍👩‍👧 \x00\x7f", "</s><s>", "{{ 7 * 7 }}", "a" * 200]
)
def test_text_of_every_kind_is_scored_and_comes_back_as_it_was(post_prompts, text):
    item = item_of(post_prompts({"id": text[:256], "prompt": text, "choices": [f" {text[:20]}", " x"]}, readout="text"))
    assert item["input"] == text
    assert {entry["label"] for entry in item["top"]} == {f" {text[:20]}", " x"}


def test_64_choices_and_the_shortest_prompt(post_prompts):
    choices = [f" {number}" for number in range(64)]
    item = item_of(post_prompts({"prompt": "x", "choices": choices}, top_k=64))
    assert [entry["label"] for entry in sorted(item["top"], key=lambda entry: entry["class_index"])] == choices
    assert sum(entry["probability"] for entry in item["top"]) == pytest.approx(1, abs=1e-5)


def test_free_answers_with_samples(post_prompts):
    prompts = [{"id": "free", "prompt": "The sea is"}, {"prompt": ""}, SKY]
    body = post_prompts(*prompts, max_tokens=6, samples=4, seed=3, scores=["entropy"]).json()
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
    again = post_prompts(prompts[0], max_tokens=6, samples=4, seed=3).json()
    assert again["data"][0]["samples"] == free["samples"]
    assert again["readout"] is None
    without = item_of(post_prompts(prompts[0], max_tokens=6))
    assert without["text"] == free["text"]
    assert not {"samples", "consistency"} & without.keys()


def test_server_timing_names_the_stages(post_prompts):
    stages = dict(entry.split(";dur=") for entry in post_prompts(SKY).headers["server-timing"].split(", "))
    assert float(stages["tokenise"]) <= float(stages["score"]) <= float(stages["total"])
