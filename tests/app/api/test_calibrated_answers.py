"""Free answers of a version whose tokens have a temperature: confidences have it, log-probabilities do not."""

import math
from dataclasses import replace

import httpx
import openai
import pytest

from app.scoring.prompt_predictor import PromptPredictor
from models.language.generation.decoding import end_tokens
from models.language.pipeline import LanguagePipeline
from tests.fixtures.formed import served
from tests.oracles.generation import greedy
from tests.oracles.tokens import token_logits

TEMPERATURE = 1.7
PROMPT = "The sea is"


@pytest.fixture(scope="module")
def calibrated(plain_prompt_predictor):
    plain = plain_prompt_predictor.pipeline
    prompts = replace(plain.prompts, token_temperatures={plain.language.precision: TEMPERATURE})
    pipeline = LanguagePipeline(plain.language, prompts, None, {})
    return PromptPredictor("tiny-language", 3, plain_prompt_predictor.manifest, pipeline)


@pytest.fixture(scope="module")
def url(calibrated):
    with served(calibrated) as url:
        yield url


@pytest.fixture(scope="module")
def expected(url, calibrated):
    """The greedy answer's text, and log-probabilities of its tokens: own and calibrated."""
    body = httpx.post(f"{url}/v1/prompts/score", json={"prompts": [{"prompt": PROMPT}], "max_tokens": 8}).json()
    (item,) = body["data"]
    language = calibrated.pipeline.language
    tokens = language.encode(PROMPT)
    made = [token for token, _ in greedy(language.network, tokens, end_tokens(language), 8)]
    rows = token_logits(language.network, [*tokens, *made], len(tokens))
    own, tempered = ([float((z / t).log_softmax(dim=0)[token]) for z, token in rows] for t in (1, TEMPERATURE))
    return item, own, tempered


def test_tokens_have_the_temperature(expected):
    item, own, tempered = expected
    assert item["calibrated"] is True
    assert [token["confidence"] for token in item["tokens"]] == pytest.approx(list(map(math.exp, tempered)), abs=1e-4)
    told = item["uncertainty"]
    assert told["calibrated"] is True
    assert item["confidence"] == told["confidence"] == pytest.approx(math.exp(sum(tempered) / 8), abs=1e-4)
    assert told["lowest_confidence"] == pytest.approx(math.exp(min(tempered)), abs=1e-4)
    assert told["log_probability"] == pytest.approx(sum(own), abs=1e-3)


def test_openai_log_probabilities_stay_the_model_s_own(url, expected):
    item, own, tempered = expected
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
    reply = client.completions.create(model="tiny-language", prompt=PROMPT, max_tokens=8, temperature=0, logprobs=1)
    (choice,) = reply.choices
    assert choice.text == item["text"]
    assert choice.logprobs.token_logprobs == pytest.approx(own, abs=1e-4)
    assert choice.uncertainty["confidence"] == pytest.approx(math.exp(sum(tempered) / 8), abs=1e-4)
    assert choice.uncertainty["calibrated"] is True


def test_a_temperature_of_another_precision_does_not_count(calibrated):
    other = replace(calibrated.pipeline.prompts, token_temperatures={"bfloat16": TEMPERATURE})
    assert LanguagePipeline(calibrated.pipeline.language, other, None, {}).token_temperature is None


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_a_temperature_is_above_0(calibrated, temperature):
    with pytest.raises(ValueError, match="must be above 0"):
        replace(calibrated.pipeline.prompts, token_temperatures={"float32": temperature})


def test_the_card_tells_the_temperature(url):
    assert httpx.get(f"{url}/v1/models/tiny-language").json()["token_temperature"] == TEMPERATURE
