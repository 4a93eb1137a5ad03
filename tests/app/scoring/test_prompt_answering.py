"""Free answers to prompts, with a tiny language model: greedy ones, samples, errors in place, room."""

import pytest

from app.errors import InvalidError, PayloadTooLargeError, QueueFullError
from app.scoring.cores import Cores
from app.scoring.generation import Generation
from app.scoring.prompt_answering import AnswersAsked, PromptAnswerer
from app.scoring.prompt_intake import PromptInput
from app.settings import Settings
from app.telemetry import Metrics
from models.language.generation.answers import answer
from models.language.generation.decoding import Prompt
from models.language.generation.sampling import Sampling

pytestmark = pytest.mark.anyio

TEXTS = ("The sea is", "What is blue?\nAnswer:")


@pytest.fixture
async def start():
    """`start(**settings)`: an answerer on a generation thread of its own."""
    started = []

    def start(**settings):
        settings, metrics = Settings(**({"max_items": 1} | settings)), Metrics()
        started.append(Generation(settings, metrics, Cores(1)))
        started[-1].start()
        return PromptAnswerer(settings, metrics, started[-1])

    yield start
    for generation in started:
        await generation.close()


def told(answer):
    return [(token.id, pytest.approx(token.log_probability, abs=1e-4)) for token in answer.tokens]


async def test_answers_are_those_of_generation_itself(start, plain_prompt_predictor):
    language = plain_prompt_predictor.pipeline.language
    prompts = [PromptInput(text, text) for text in TEXTS]
    asked = AnswersAsked(max_tokens=8, samples=3, temperature=0.7, seed=5)
    timings = {}
    outcomes = await start().answer(plain_prompt_predictor, prompts, asked, timings)
    for text, outcome in zip(TEXTS, outcomes, strict=True):
        tokens = language.encode(text)
        (greedy,) = answer(language, [Prompt(tokens, Sampling(8, temperature=0.0))])
        (samples,) = answer(language, [Prompt(tokens, Sampling(8, temperature=0.7, seed=5), 3)])
        assert told(outcome.answer) == told(greedy[0])
        assert [told(each) for each in outcome.samples] == [told(each) for each in samples]
        assert outcome.tokens == len(tokens) + sum(len(each.tokens) for each in (*greedy, *samples))
    assert timings["answer"] > 0


async def test_a_prefix_a_conversation_and_a_stop(start, plain_prompt_predictor):
    conversation = PromptInput("c", ({"role": "user", "content": "sea"},))
    prompts = [PromptInput("p", "sea is", prefix="The "), conversation, PromptInput("w", "[user]sea[assistant]")]
    answerer, asked = start(), AnswersAsked(max_tokens=8)
    with_prefix, by_chat, by_hand = await answerer.answer(plain_prompt_predictor, prompts, asked, {})
    (plain,) = await answerer.answer(plain_prompt_predictor, [PromptInput("p", TEXTS[0])], asked, {})
    assert told(with_prefix.answer) == told(plain.answer)
    assert told(by_chat.answer) == told(by_hand.answer)
    stop = next(character for character in plain.answer.text if character.isascii() and character.isprintable())
    asked = AnswersAsked(max_tokens=8, stops=(stop,))
    (stopped,) = await answerer.answer(plain_prompt_predictor, [PromptInput("p", TEXTS[0])], asked, {})
    assert stopped.answer.text == plain.answer.text.partition(stop)[0]
    assert stopped.answer.finish == "stop"


async def test_what_cannot_be_answered_says_why_in_its_place(start, plain_prompt_predictor):
    bad = {
        "": "the prompt is empty",
        "🌊" * 64: "which leaves no room to answer",
        "x" * 300: "longer than 280 characters",
        "\ud800": "not valid Unicode",
    }
    prompts = [PromptInput("good", "x"), *(PromptInput("bad", text) for text in bad)]
    answerer = start(max_prompt_characters=280)
    good, *failed = await answerer.answer(plain_prompt_predictor, prompts, AnswersAsked(max_tokens=2), {})
    assert len(good.answer.tokens) == 2
    for outcome, reason in zip(failed, bad.values(), strict=True):
        assert reason in outcome.detail
    only_bad = await answerer.answer(plain_prompt_predictor, prompts[1:2], AnswersAsked(max_tokens=2), {})
    assert [type(outcome) for outcome in only_bad] == [InvalidError]
    value = answerer.metrics.registry.get_sample_value
    counts = [
        value("howsure_items_total", {"model": "tiny-language", "outcome": what})
        for what in ("scored", "invalid", "payload_too_large")
    ]
    assert counts == [1, 4, 1]


async def test_more_answers_than_there_is_room_for(start, plain_prompt_predictor):
    answerer = start(queue_items=8)
    prompts = [PromptInput("x", "x")] * 3
    with pytest.raises(PayloadTooLargeError, match="9 answers in a request with the samples, at most 8"):
        await answerer.answer(plain_prompt_predictor, prompts, AnswersAsked(max_tokens=1, samples=2), {})
    tokens = plain_prompt_predictor.pipeline.language.encode("x")
    waiting = answerer.generation.ask(plain_prompt_predictor, [Prompt(tokens, Sampling(200, seed=1), 8)])
    with pytest.raises(QueueFullError):
        await answerer.answer(plain_prompt_predictor, prompts, AnswersAsked(max_tokens=1), {})
    waiting.close()
