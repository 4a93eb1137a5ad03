"""The generation thread with a tiny language model: answers, company, room, time, cancellation, failure, drain."""

import asyncio
import threading
import time

import pytest

from app.errors import InternalError, NotReadyError, QueueFullError, TimedOutError
from app.scoring.cores import Cores
from app.scoring.generation import Generation
from app.scoring.prompt_predictor import PromptPredictor
from app.settings import Settings
from app.telemetry import Metrics
from models.language.generation.answers import Answer, answer
from models.language.generation.decoding import Prompt
from models.language.generation.sampling import Sampling

pytestmark = pytest.mark.anyio

LONG = 200


@pytest.fixture
async def start(plain_prompt_predictor):
    started = []

    def start(**settings):
        settings = Settings(**({"max_items": 1} | settings))
        started.append(Generation(settings, Metrics(), Cores(1)))
        started[-1].start()
        return started[-1]

    yield start
    for generation in started:
        await generation.close()


@pytest.fixture
def slow(plain_prompt_predictor, monkeypatch):
    """The predictor, each pass through its network waiting 10 ms."""
    network = plain_prompt_predictor.pipeline.language.network.base_model
    forward = network.forward
    monkeypatch.setattr(network, "forward", lambda **given: time.sleep(0.01) or forward(**given))
    return plain_prompt_predictor


def prompts(predictor, *texts, count=1, **sampling):
    asked = Sampling(**({"max_tokens": 12, "temperature": 1.0, "seed": 7} | sampling))
    return [Prompt(predictor.pipeline.language.encode(text), asked, count) for text in texts]


async def whole(stream):
    found = {}
    async for piece in stream:
        found.setdefault(piece.answer, Answer()).add(piece.tokens, piece.finish)
    stream.close()
    return [found[number].text for number in sorted(found)]


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_every_request_gets_its_own_answers_whatever_the_others_ask(start, plain_prompt_predictor):
    generation = start(cached_tokens=600)
    asked = [
        prompts(plain_prompt_predictor, "The sea", "x" * number, count=1 + number % 3, max_tokens=5 + 4 * number)
        for number in range(1, 6)
    ]
    found = await asyncio.gather(*(whole(generation.ask(plain_prompt_predictor, each)) for each in asked))
    for each, texts in zip(asked, found, strict=True):
        expected = answer(plain_prompt_predictor.pipeline.language, each)
        assert texts == [one.text for several in expected for one in several]
    await until(lambda: generation.admitted == 0)


async def test_more_answers_than_the_queue_takes_are_refused_with_a_time_to_come_back(start, slow):
    generation = start(queue_items=3)
    stream = generation.ask(slow, prompts(slow, "x", count=2, max_tokens=LONG))
    with pytest.raises(QueueFullError) as refused:
        generation.ask(slow, prompts(slow, "x", count=2))
    assert int(refused.value.headers["Retry-After"]) >= 1
    stream.close()
    await until(lambda: generation.admitted == 0)
    assert len(await whole(generation.ask(slow, prompts(slow, "x", count=3, max_tokens=2)))) == 3


async def test_a_closed_stream_frees_its_room_for_who_waits(start, slow):
    generation = start(cached_tokens=256)
    first = generation.ask(slow, prompts(slow, "x", max_tokens=LONG))
    second = generation.ask(slow, prompts(slow, "x", max_tokens=LONG))
    piece = await anext(first)
    assert piece.answer == 0
    first.close()
    await asyncio.wait_for(anext(second), 1)  # the first one had two seconds to go
    second.close()


async def test_an_answer_that_takes_too_long_is_dropped(start, slow):
    generation = start(answer_seconds=0.2)
    with pytest.raises(TimedOutError, match=r"not whole within 0\.2 s"):
        await whole(generation.ask(slow, prompts(slow, "x", max_tokens=LONG)))
    await until(lambda: generation.admitted == 0)


async def test_two_versions_of_a_model_answer_side_by_side(start, slow):
    generation = start()
    other = PromptPredictor(slow.model, 2, slow.manifest, slow.pipeline)
    old = generation.ask(slow, prompts(slow, "The sea", max_tokens=40))
    await anext(old)
    new = await whole(generation.ask(other, prompts(other, "The sea", max_tokens=3)))
    assert generation.admitted == 1
    assert new[0]
    await whole(old)


@pytest.mark.parametrize("broken_part", ["pass", "cache"])
async def test_a_pass_or_a_cache_that_fails_is_an_error_for_its_batch_and_the_thread_goes_on(
    start, plain_prompt_predictor, monkeypatch, broken_part
):
    generation = start(answer_seconds=5)
    network = plain_prompt_predictor.pipeline.language.network.base_model
    with monkeypatch.context() as broken:
        if broken_part == "pass":
            broken.setattr(network, "forward", lambda **_: 1 / 0)
        else:
            broken.setattr("transformers.DynamicCache", lambda **_: 1 / 0)
        streams = [generation.ask(plain_prompt_predictor, prompts(plain_prompt_predictor, "x")) for _ in range(3)]
        for found in await asyncio.gather(*map(whole, streams), return_exceptions=True):
            assert isinstance(found, InternalError)
        await until(lambda: generation.admitted == 0)
    assert await whole(generation.ask(plain_prompt_predictor, prompts(plain_prompt_predictor, "x")))


async def test_probabilities_that_are_not_finite_are_an_error(start, plain_prompt_predictor, monkeypatch):
    network = plain_prompt_predictor.pipeline.language.network.base_model
    forward = network.forward

    def without_numbers(**given):
        found = forward(**given)
        found.last_hidden_state = found.last_hidden_state * float("nan")
        return found

    monkeypatch.setattr(network, "forward", without_numbers)
    generation = start()
    with pytest.raises(InternalError, match="no finite probabilities"):
        await whole(generation.ask(plain_prompt_predictor, prompts(plain_prompt_predictor, "x")))


async def test_the_death_of_the_thread_is_told_to_everybody(start, slow, monkeypatch):
    generation = start()
    stream = generation.ask(slow, prompts(slow, "x", max_tokens=LONG))
    await anext(stream)

    def die():
        raise MemoryError

    monkeypatch.setattr(generation, "_go_on", die)
    with pytest.raises(InternalError, match="thread died"):
        await whole(stream)
    assert not generation.alive
    with pytest.raises(NotReadyError, match="thread died"):
        generation.ask(slow, prompts(slow, "x"))


async def test_what_is_under_way_is_finished_at_shutdown(start, slow):
    generation = start()
    stream = generation.ask(slow, prompts(slow, "x", max_tokens=20))
    closing = asyncio.create_task(generation.close())
    await asyncio.sleep(0.02)
    with pytest.raises(NotReadyError, match="shutting down"):
        generation.ask(slow, prompts(slow, "x"))
    assert await whole(stream) == [
        each.text for each in answer(slow.pipeline.language, prompts(slow, "x", max_tokens=20))[0]
    ]
    await closing
    assert not [thread for thread in threading.enumerate() if thread is generation._thread]


async def test_what_is_not_finished_in_the_drain_time_is_told_so(start, slow):
    generation = start(drain_seconds=0.05)
    stream = generation.ask(slow, prompts(slow, "x", max_tokens=LONG))
    await generation.close()
    with pytest.raises(NotReadyError, match="shut down before"):
        await whole(stream)
