"""A server with a tiny language model, and OpenAI's own client of it."""

import httpx
import openai
import pytest

from app.keys import ApiKey, Scope
from tests.fixtures.formed import served

MODEL = "tiny-language"
KEY, SECRET = ApiKey.create("client", [Scope.SCORE, Scope.READ])


@pytest.fixture(scope="session")
def address(plain_prompt_predictor, language_store):
    with served(plain_prompt_predictor, store=language_store.root, api_keys=(KEY,), threads=1) as url:
        yield url


@pytest.fixture(scope="session")
def client(address):
    with openai.OpenAI(base_url=f"{address}/v1", api_key=SECRET, max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def plain(address):
    """The same without OpenAI's client, whose types hide what it does not expect."""
    with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {SECRET}"}, timeout=60) as client:
        yield client
