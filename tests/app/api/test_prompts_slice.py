"""`POST /v1/prompts/score` with `slice`: what the reply has more, and that the rest of it stays."""

import httpx
import pytest

from tests.fixtures.formed import served
from tests.fixtures.problems import check_problem

PROMPTS = [{"id": word, "prompt": f"What is {word}? Answer:", "choices": [" A", " B"]} for word in ("x", "blue", "🌊")]
FREE, BAD = {"prompt": "The sea is"}, {"prompt": "", "choices": ["a", "b"]}


@pytest.fixture(scope="module")
def post(slice_predictor):
    """`post(prompt, …, **fields of the request)`."""
    each_alone = {"threads": 1, "batch_tokens": 1}  # so that equal prompts have answers equal to the last bit
    with served(slice_predictor, **each_alone) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield lambda *prompts, **fields: client.post("/v1/prompts/score", json={"prompts": prompts, **fields})


def test_the_reply(post):
    asked = [FREE, PROMPTS[0], BAD, *PROMPTS[1:]]
    body, without = (post(*asked, max_tokens=2, **more).json() for more in ({"slice": True}, {}))
    curve, chances = body["slice"]["curve"], [item.pop("slice_confidence", None) for item in body["data"]]
    assert body["slice"]["items"] == 3
    assert len(curve) == 10
    assert curve == sorted(curve)
    assert [chance is None for chance in chances] == [True, False, True, False, False]
    for chance, item in zip(chances, body["data"], strict=True):
        if chance is not None:
            left = min(8, int(item["confidence"] * 9))
            share = item["confidence"] * 9 - left
            assert chance == pytest.approx((1 - share) * curve[left] + share * curve[left + 1], abs=1e-5)
    assert body["slice"]["mean_confidence"] == pytest.approx(sum(filter(None, chances)) / 3, abs=1e-6)
    for one, other in zip(body.pop("data"), without.pop("data"), strict=True):
        assert {**one, "id": None} == {**other, "id": None}
    del body["slice"]
    assert body == without


def test_a_chance_goes_with_its_item_in_any_order(post):
    found, turned = (post(*PROMPTS, slice=True, **more).json()["data"] for more in ({}, {"sort": "entropy"}))
    by_name = {item["input"]: item["slice_confidence"] for item in found}
    assert {item["input"]: item["slice_confidence"] for item in turned} == pytest.approx(by_name, abs=1e-5)


def test_what_is_refused(post, post_prompts):
    problem = check_problem(post(*PROMPTS[:2], FREE, slice=True), 422, "invalid")
    assert problem["errors"][0]["pointer"] == "/slice"
    assert problem["detail"] == "a slice is read from at least 3 prompts with choices, and here are 2: send more of it"
    assert "no recalibrator" in check_problem(post_prompts(*PROMPTS, slice=True), 422, "invalid")["detail"]
    check_problem(post(FREE, slice=True), 422, "invalid")
    check_problem(post(*PROMPTS, slice=1), 422, "invalid")
    assert "slice" not in post(*PROMPTS, slice=False).json()
