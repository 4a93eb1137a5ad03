"""The online path of prompts in this process, with a tiny language model: numbers, readouts, limits, cancellation."""

import asyncio

import numpy as np
import pytest

from app.errors import (
    HowsureError,
    InternalError,
    InvalidError,
    NotReadyError,
    QueueFullError,
    TimedOutError,
)
from app.scoring.cores import Cores
from app.scoring.prompt_intake import PromptInput
from app.scoring.prompt_predictor import PromptPredictor
from app.scoring.prompt_scorer import PromptScorer, ScoredPrompt
from app.settings import Settings
from app.telemetry import Metrics
from models.core.prompt_spec import Readout
from models.language.continuations import ChoiceItem

pytestmark = pytest.mark.anyio

SHOTS = "What is the sea? Answer: A\n\nWhat is the sand? Answer: B\n\n"
LETTERS = (" A", " B", " C", " D")
ONE_TOKEN = [
    ChoiceItem(f"{SHOTS}What is {word}? Answer:", LETTERS[:count]) for word, count in (("blue", 2), ("x", 3), ("🌊", 4))
]
MIXED = [
    *ONE_TOKEN,
    ChoiceItem("The colour of the sea is", (" blue", " the yellow of the sand")),
    ChoiceItem("ما لون البحر؟", (" أزرق", " أصفر كالرمل", " x")),
    ChoiceItem("x", tuple(f" choice {number}" for number in range(64))),
]
GOOD, BAD = PromptInput("good", "The sea is", (" blue", " yellow")), PromptInput("bad", "", (" blue", " yellow"))


def given(item, name="item", **fields):
    return PromptInput(name, item.prompt, item.choices, **fields)


@pytest.fixture
async def start():
    """`start(**settings)`: a scorer."""
    started = []

    def start(**settings):
        settings = Settings(**settings)
        scorer = PromptScorer(settings, Metrics(), Cores(settings.cores))
        scorer.batcher.start()
        started.append(scorer)
        return scorer

    yield start
    for scorer in started:
        await scorer.close()


@pytest.fixture
def ask(prompt_predictor):
    """`ask(scorer, prompts, **options)`: the outcomes."""

    async def ask(scorer, prompts, predictor=prompt_predictor, **options):
        asked = {"scores": None, "top_k": 64, "timings": {}}
        return (await scorer.score(predictor, prompts, **(asked | options))).outcomes

    return ask


@pytest.mark.parametrize("readout", Readout)
async def test_the_numbers_are_those_of_the_pipeline(start, ask, prompt_predictor, readout):
    items = ONE_TOKEN if readout is Readout.NEXT_TOKEN else MIXED
    expected = prompt_predictor.pipeline.answer(items, readout, scores=("entropy", "energy"), top_k=64)
    outcomes = await ask(start(), list(map(given, items)), readout=readout)
    for row, (outcome, item) in enumerate(zip(outcomes, items, strict=True)):
        assert (outcome.readout, outcome.calibrated) == (readout, readout is Readout.NEXT_TOKEN)
        found = outcome.prediction
        assert found.class_index == expected.answers.class_index[row]
        assert found.confidence == pytest.approx(expected.answers.confidence[row], abs=1e-5)
        assert found.raw_confidence == pytest.approx(expected.answers.raw_confidence[row], abs=1e-5)
        assert sorted(index for index, _ in found.top) == list(range(len(item.choices)))
        assert sum(probability for _, probability in found.top) == pytest.approx(1, abs=1e-5)
        for name, (values, percentiles) in expected.answers.scores.items():
            assert found.uncertainty[name].value == pytest.approx(values[row], abs=1e-4)
            known = None if np.isnan(percentiles[row]) else pytest.approx(percentiles[row], abs=0.011)
            assert found.uncertainty[name].percentile == known


async def test_an_answer_does_not_depend_on_its_company(start, ask):
    scorer = start()
    prompts = list(map(given, MIXED))
    together = await ask(scorer, prompts, readout=Readout.TEXT)
    in_pairs = [one for at in (0, 2, 4) for one in await ask(scorer, prompts[at : at + 2], readout=Readout.TEXT)]
    alone = [one for prompt in prompts for one in await ask(scorer, [prompt], readout=Readout.TEXT)]
    small = await ask(start(batch_tokens=1), prompts, readout=Readout.TEXT)
    for others in (in_pairs, alone, small):
        for one, other in zip(together, others, strict=True):
            assert other.prediction.class_index == one.prediction.class_index
            assert other.prediction.confidence == pytest.approx(one.prediction.confidence, abs=1e-5)


async def test_the_versions_own_readout_or_texts_where_choices_are_not_one_token(start, ask, plain_prompt_predictor):
    outcomes = await ask(start(), list(map(given, MIXED)))
    assert [outcome.readout for outcome in outcomes] == ["next_token"] * 3 + ["text"] * 3
    assert [outcome.calibrated for outcome in outcomes] == [True] * 3 + [False] * 3
    uncalibrated = await ask(start(), list(map(given, ONE_TOKEN)), plain_prompt_predictor)
    for raw, found in zip(uncalibrated, outcomes, strict=False):
        assert not raw.calibrated
        assert raw.prediction.confidence == raw.prediction.raw_confidence
        assert raw.prediction.confidence > found.prediction.confidence, "the temperature is above 1"
    (refused,) = await ask(start(), [given(MIXED[3])], readout=Readout.NEXT_TOKEN)
    assert refused.detail == "not every choice is one token after the prompt; score them as texts"


async def test_forms_of_a_prompt_are_the_text_that_they_stand_for(start, ask, prompt_predictor):
    written = "What is blue?\nA. sea\nB. sand\nAnswer:"
    conversation = ({"role": "user", "content": "hello"},)
    pairs = [
        (PromptInput("q", " What is blue?\n", ("sea", "sand"), lettered=True), ChoiceItem(written, LETTERS[:2])),
        (
            PromptInput("q", "What is blue?", ("sea", "sand"), lettered=True, prefix=SHOTS),
            ChoiceItem(SHOTS + written, LETTERS[:2]),
        ),
        (PromptInput("p", "The sea is", (" x", " y"), prefix=SHOTS), ChoiceItem(f"{SHOTS}The sea is", (" x", " y"))),
        (PromptInput("p", "", (" x", " y"), prefix=SHOTS), ChoiceItem(SHOTS, (" x", " y"))),
        (PromptInput("c", conversation, (" x", " y")), ChoiceItem("[user]hello[assistant]", (" x", " y"))),
    ]
    outcomes = await ask(start(), [prompt for prompt, _ in pairs], readout=Readout.TEXT)
    expected = prompt_predictor.pipeline.answer([item for _, item in pairs], Readout.TEXT).answers
    assert [outcome.prediction.confidence for outcome in outcomes] == pytest.approx(expected.confidence, abs=1e-5)
    assert [outcome.prediction.class_index for outcome in outcomes] == expected.class_index.tolist()


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
async def test_what_cannot_be_asked_says_why_in_its_place(start, ask, prompt, reason):
    scorer = start()
    good, bad = await ask(scorer, [GOOD, prompt])
    assert isinstance(good, ScoredPrompt)
    assert (type(bad), bad.detail) == (InvalidError, reason)
    assert scorer.batcher.admitted == 0


async def test_the_longest_prompt_and_the_shortest(start, ask):
    longest = PromptInput("x", "🌊" * 63 + "sea", (" A", " B"))
    shortest = PromptInput("x", "x", (" A", " B"))
    found = await ask(start(), [longest, shortest])
    assert [outcome.tokens for outcome in found] == [254, 1]


async def test_a_prompt_of_more_characters_than_allowed_is_not_read(start, ask):
    scorer = start(max_prompt_characters=100)
    at_limit, over = PromptInput("x", "x" * 96, (" A", " B")), PromptInput("x", "x" * 96, (" A", " B"), prefix="y")
    conversation = PromptInput("x", ({"role": "user", "content": "x" * 94},), (" A", " B"))
    found = await ask(scorer, [at_limit, over, conversation])
    assert [getattr(outcome, "status", None) for outcome in found] == [None, 413, 413]


async def test_a_prompt_of_more_tokens_than_allowed_with_its_choices_is_not_scored(start, ask):
    prompts = [PromptInput("x", "x", LETTERS[:count]) for count in (3, 4)]
    at_limit, over = await ask(start(max_prompt_tokens=4), prompts, readout=Readout.TEXT)
    assert at_limit.tokens == 4
    assert (over.status, over.detail.partition(";")[0]) == (
        413,
        "the prompt has 5 tokens with all of its choices, at most 4 are allowed",
    )


async def test_choices_that_are_also_read_without_the_question_have_to_fit_there(start, ask):
    full = PromptInput("x", "x", ("🌊" * 63 + "xxx", " A"))  # 256 tokens after this prompt, 257 after "Answer:"
    scorer = start()
    (by_text,) = await ask(scorer, [full], readout=Readout.TEXT)
    assert isinstance(by_text, ScoredPrompt)
    good, refused = await ask(scorer, [GOOD, full], readout=Readout.TEXT_UNCONDITIONAL)
    assert isinstance(good, ScoredPrompt)
    assert (refused.status, refused.detail.partition(" with")[0]) == (422, "257 tokens")


async def test_no_chat_template_is_an_error_in_place(start, ask, prompt_predictor, monkeypatch):
    monkeypatch.setattr(prompt_predictor.pipeline.language.tokenizer, "chat_template", None)
    (outcome,) = await ask(start(), [PromptInput("x", ({"role": "user", "content": "x"},), (" A", " B"))])
    assert outcome.status == 422
    assert "send one text as the prompt" in outcome.detail


async def test_batches_keep_to_the_budget_of_tokens(start, ask, prompt_predictor):
    sizes = []

    class Watched(PromptPredictor):
        def predict(self, batch, cores):
            sizes.append(len(batch))
            return super().predict(batch, cores)

    predictor = Watched("m", 1, prompt_predictor.manifest, prompt_predictor.pipeline)
    prompts = [PromptInput("x", f"{SHOTS}What is {n}?", LETTERS) for n in range(8)]
    tokens = len(prompt_predictor.pipeline.language.encode(SHOTS))
    settings = {"threads": 1, "max_wait_ms": 1000}
    for budget, largest in ((1, 1), (tokens + 60, 8), (4096, 8)):
        sizes.clear()
        await ask(start(batch_tokens=budget, **settings), prompts, predictor, readout=Readout.NEXT_TOKEN)
        assert sum(sizes) == 8
        assert max(sizes) == largest


async def test_the_order_of_the_inputs_or_that_of_a_score(start, prompt_predictor):
    scorer = start()
    asked = {"scores": ["entropy"], "top_k": 1, "timings": {}}
    prompts = [BAD, *map(given, ONE_TOKEN)]
    assert list((await scorer.score(prompt_predictor, prompts, **asked)).order) == [0, 1, 2, 3]
    found = await scorer.score(prompt_predictor, prompts, **asked, sort="entropy")
    values = {row: found.outcomes[row].prediction.uncertainty["entropy"].value for row in (1, 2, 3)}
    assert list(found.order) == [*sorted(values, key=values.get, reverse=True), 0]
    assert found.outcomes[1].prediction.uncertainty.keys() == {"entropy"}


async def test_timings_and_metrics(start, prompt_predictor):
    scorer, timings = start(), {}
    await scorer.score(prompt_predictor, [GOOD, BAD], scores=None, top_k=1, timings=timings)
    assert 0 < timings["tokenise"] < timings["score"]
    value = scorer.metrics.registry.get_sample_value
    counts = [
        value("howsure_items_total", {"model": "tiny-language", "outcome": what}) for what in ("scored", "invalid")
    ]
    assert counts == [1, 1]
    assert value("howsure_confidence_count", {"model": "tiny-language"}) == 1
    assert value("howsure_stage_duration_seconds_count", {"stage": "prompt_model"}) == 1


async def test_what_concerns_the_whole_request(start, ask):
    scorer = start()
    for options in ({"scores": ["luck"]}, {"scores": ["entropy:fast"]}, {"sort": "luck"}):
        with pytest.raises(InvalidError):
            await ask(scorer, [GOOD], **options)
    assert scorer.batcher.admitted == 0


async def test_time_is_limited(start, ask, held):
    scorer = start(request_seconds=0.05)
    with pytest.raises(TimedOutError, match=r"0\.05 s"):
        await ask(scorer, [GOOD], held)
    assert scorer.batcher.admitted == 0
    held.go.set()


async def test_a_cancelled_call_leaves_nothing_behind(start, ask, held):
    scorer = start()
    calls = [asyncio.create_task(ask(scorer, [GOOD] * 8, held)) for _ in range(8)]
    await asyncio.to_thread(held.begun.wait, 5)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    assert scorer.batcher.admitted == 0
    held.go.set()
    assert isinstance((await ask(scorer, [GOOD]))[0], ScoredPrompt)


async def test_a_full_queue_refuses_whole_requests(start, ask, held):
    scorer = start(queue_items=8, max_items=8)
    calls = [asyncio.create_task(ask(scorer, [GOOD] * 5, held)) for _ in range(3)]
    await asyncio.to_thread(held.begun.wait, 5)
    held.go.set()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) is QueueFullError for outcome in outcomes] == [False, True, True]


async def test_a_model_that_breaks_is_an_error_in_place(start, ask, caplog):
    """A number of choices that the work cannot hold stands for any fault inside the model."""
    scorer = start()
    (outcome,) = await ask(scorer, [GOOD], top_k="three")
    assert isinstance(outcome, InternalError)
    assert not isinstance((await ask(scorer, [GOOD]))[0], HowsureError)


async def test_after_close_nothing_is_taken(start, ask):
    scorer = start()
    await scorer.close()
    with pytest.raises(NotReadyError, match="shut"):
        await ask(scorer, [GOOD])
