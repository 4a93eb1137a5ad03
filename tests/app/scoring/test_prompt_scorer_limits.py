"""Prompts that the online path refuses, in their place or whole: what cannot be asked, limits, time, room, faults."""

import asyncio

import pytest

from app.errors import (
    HowsureError,
    InternalError,
    InvalidError,
    NotReadyError,
    QueueFullError,
    TimedOutError,
)
from app.scoring.prompt_intake import PromptInput
from app.scoring.prompt_scorer import ScoredPrompt
from models.core.prompt_spec import Readout
from tests.fixtures.prompt_scoring import BAD, GOOD, LETTERS

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        (BAD, "the prompt is empty"),
        (PromptInput("x", "x", ()), "0 choices; give 2 to 64"),
        (PromptInput("x", "x", (" A",)), "1 choices; give 2 to 64"),
        (PromptInput("x", "x", tuple(f" {n}" for n in range(65))), "65 choices; give 2 to 64"),
        (PromptInput("x", "x", (" A", "")), "a choice is empty; give every choice a text"),
        (PromptInput("x", "x", (" A", " B", " A")), "choices are given twice: [' A']"),
        (PromptInput("x", "x", ("sea", "sea"), lettered=True), "choices are given twice: ['sea']"),
        (PromptInput("x", "x", ("sea", ""), lettered=True), "a choice is empty; give every choice a text"),
        (PromptInput("x", " \n", ("sea", "sand"), lettered=True), "the question is empty"),
        (
            PromptInput("x", "x", tuple(map(str, range(27))), lettered=True),
            "27 choices have no letters, which end at Z; score them as texts",
        ),
        (
            PromptInput("x", "🌊" * 64, (" A", " B")),  # one token a byte
            "257 tokens with the choice, the model's context is 256; shorten it",
        ),
        (
            PromptInput("x", "\ud800", (" A", " B")),
            "the text is not valid Unicode, it cannot be encoded as UTF-8: 'utf-8' codec can't encode character"
            " '\\ud800' in position 0: surrogates not allowed",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_cannot_be_asked_says_why_in_its_place(start_prompt_scorer, ask_prompts, prompt, reason):
    scorer = start_prompt_scorer()
    good, bad = await ask_prompts(scorer, [GOOD, prompt])
    assert isinstance(good, ScoredPrompt)
    assert (type(bad), bad.detail) == (InvalidError, reason)
    assert scorer.batcher.admitted == 0


async def test_the_longest_prompt_and_the_shortest(start_prompt_scorer, ask_prompts):
    longest = PromptInput("x", "🌊" * 63 + "sea", (" A", " B"))
    shortest = PromptInput("x", "x", (" A", " B"))
    found = await ask_prompts(start_prompt_scorer(), [longest, shortest])
    assert [outcome.tokens for outcome in found] == [254, 1]


async def test_a_prompt_of_more_characters_than_allowed_is_not_read(start_prompt_scorer, ask_prompts):
    scorer = start_prompt_scorer(max_prompt_characters=100)
    at_limit, over = PromptInput("x", "x" * 96, (" A", " B")), PromptInput("x", "x" * 96, (" A", " B"), prefix="y")
    conversation = PromptInput("x", ({"role": "user", "content": "x" * 94},), (" A", " B"))
    found = await ask_prompts(scorer, [at_limit, over, conversation])
    assert [getattr(outcome, "status", None) for outcome in found] == [None, 413, 413]


async def test_a_prompt_of_more_tokens_than_allowed_with_its_choices_is_not_scored(start_prompt_scorer, ask_prompts):
    prompts = [PromptInput("x", "x", LETTERS[:count]) for count in (3, 4)]
    at_limit, over = await ask_prompts(start_prompt_scorer(max_prompt_tokens=4), prompts, readout=Readout.TEXT)
    assert at_limit.tokens == 4
    assert (over.status, over.detail.partition(";")[0]) == (
        413,
        "the prompt has 5 tokens with all of its choices, at most 4 are allowed",
    )


async def test_choices_that_are_also_read_without_the_question_have_to_fit_there(start_prompt_scorer, ask_prompts):
    full = PromptInput("x", "x", ("🌊" * 63 + "xxx", " A"))  # 256 tokens after this prompt, 257 after "Answer:"
    scorer = start_prompt_scorer()
    (by_text,) = await ask_prompts(scorer, [full], readout=Readout.TEXT)
    assert isinstance(by_text, ScoredPrompt)
    good, refused = await ask_prompts(scorer, [GOOD, full], readout=Readout.TEXT_UNCONDITIONAL)
    assert isinstance(good, ScoredPrompt)
    assert (refused.status, refused.detail.partition(" with")[0]) == (422, "257 tokens")


async def test_no_chat_template_is_an_error_in_place(start_prompt_scorer, ask_prompts, prompt_predictor, monkeypatch):
    monkeypatch.setattr(prompt_predictor.pipeline.language.tokenizer, "chat_template", None)
    (outcome,) = await ask_prompts(
        start_prompt_scorer(), [PromptInput("x", ({"role": "user", "content": "x"},), (" A", " B"))]
    )
    assert outcome.status == 422
    assert "send one text as the prompt" in outcome.detail


async def test_what_concerns_the_whole_request(start_prompt_scorer, ask_prompts):
    scorer = start_prompt_scorer()
    for options in ({"scores": ["luck"]}, {"scores": ["entropy:fast"]}, {"sort": "luck"}):
        with pytest.raises(InvalidError):
            await ask_prompts(scorer, [GOOD], **options)
    assert scorer.batcher.admitted == 0


async def test_time_is_limited(start_prompt_scorer, ask_prompts, held):
    scorer = start_prompt_scorer(request_seconds=0.05)
    with pytest.raises(TimedOutError, match=r"0\.05 s"):
        await ask_prompts(scorer, [GOOD], held)
    assert scorer.batcher.admitted == 0
    held.go.set()


async def test_a_cancelled_call_leaves_nothing_behind(start_prompt_scorer, ask_prompts, held):
    scorer = start_prompt_scorer()
    calls = [asyncio.create_task(ask_prompts(scorer, [GOOD] * 8, held)) for _ in range(8)]
    assert await asyncio.to_thread(held.begun.wait, 5)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    assert scorer.batcher.admitted == 0
    held.go.set()
    assert isinstance((await ask_prompts(scorer, [GOOD]))[0], ScoredPrompt)


async def test_a_full_queue_refuses_whole_requests(start_prompt_scorer, ask_prompts, held):
    scorer = start_prompt_scorer(queue_items=8, max_items=8)
    calls = [asyncio.create_task(ask_prompts(scorer, [GOOD] * 5, held)) for _ in range(3)]
    assert await asyncio.to_thread(held.begun.wait, 5)
    held.go.set()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) is QueueFullError for outcome in outcomes] == [False, True, True]


async def test_a_model_that_breaks_is_an_error_in_place(start_prompt_scorer, ask_prompts, caplog):
    """A number of choices that the work cannot hold stands for any fault inside the model."""
    scorer = start_prompt_scorer()
    (outcome,) = await ask_prompts(scorer, [GOOD], top_k="three")
    assert isinstance(outcome, InternalError)
    assert not isinstance((await ask_prompts(scorer, [GOOD]))[0], HowsureError)


async def test_after_close_nothing_is_taken(start_prompt_scorer, ask_prompts):
    scorer = start_prompt_scorer()
    await scorer.close()
    with pytest.raises(NotReadyError, match="shut"):
        await ask_prompts(scorer, [GOOD])
