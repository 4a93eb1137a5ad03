"""A request's prompts as a slice: the library's curve on the same items, and none of them changed."""

import pytest
import torch

from app.errors import InvalidError
from app.scoring.prompt_intake import PromptInput
from models.core.prompt_spec import Readout
from models.language.continuations import ChoiceItem
from models.language.few_shot_recalibration import read_curves
from tests.fixtures.prompt_scoring import BAD, LETTERS

pytestmark = pytest.mark.anyio
ITEMS = [ChoiceItem(f"What is {word}? Answer:", LETTERS[:count]) for word, count in (("blue", 2), ("x", 3), ("🌊", 4))]
PROMPTS = [PromptInput("item", item.prompt, item.choices) for item in ITEMS]
WORDS = PromptInput("words", "The colour of the sea is", (" blue", " the yellow of the sand"))


async def score(scorer, predictor, prompts, **options):
    return await scorer.score(predictor, prompts, **({"scores": None, "top_k": 5, "timings": {}} | options))


async def test_the_curve_is_the_library_s_on_the_same_items(start_prompt_scorer, slice_predictor):
    found = await score(start_prompt_scorer(), slice_predictor, [WORDS, *PROMPTS, BAD], as_slice=True)
    pipeline = slice_predictor.pipeline
    answers = pipeline.answer(ITEMS, Readout.NEXT_TOKEN)
    confidences = torch.tensor(answers.answers.confidence)
    curve = pipeline.few_shot.curve(confidences, torch.tensor(answers.embeddings))
    assert found.slice.curve == pytest.approx(curve.tolist(), abs=1e-5)
    chances = read_curves(curve, confidences).tolist()
    words, *items, _ = found.outcomes
    assert [item.slice_confidence for item in items] == pytest.approx(chances, abs=1e-5)
    assert words.slice_confidence is None, "it is read as text"
    assert list(found.slice.confidences) == [1, 2, 3]
    assert found.slice.mean_confidence == pytest.approx(sum(chances) / 3, abs=1e-5)


async def test_items_are_what_they_are_without_it(start_prompt_scorer, slice_predictor, prompt_predictor):
    scorer = start_prompt_scorer(threads=1, batch_tokens=1)  # each alone: equal to the last bit
    found, without, plain = [
        await score(scorer, predictor, PROMPTS, as_slice=as_slice)
        for predictor, as_slice in ((slice_predictor, True), (slice_predictor, False), (prompt_predictor, False))
    ]
    assert without.slice is None
    for one, other, third in zip(found.outcomes, without.outcomes, plain.outcomes, strict=True):
        assert one.prediction == other.prediction == third.prediction
        assert one.slice_confidence is not None
        assert other.slice_confidence is third.slice_confidence is None


async def test_it_depends_on_the_company_and_the_items_do_not(start_prompt_scorer, slice_predictor):
    scorer = start_prompt_scorer()
    others = [PromptInput("x", f"The sand, {number}. Answer:", LETTERS) for number in range(6)]
    alone = await score(scorer, slice_predictor, PROMPTS, as_slice=True)
    together = await score(scorer, slice_predictor, [*PROMPTS, *others], as_slice=True)
    assert max(abs(a - b) for a, b in zip(alone.slice.curve, together.slice.curve, strict=True)) > 1e-4
    for one, other in zip(alone.outcomes, together.outcomes, strict=False):
        assert other.prediction.confidence == pytest.approx(one.prediction.confidence, abs=1e-5)


async def test_what_cannot_be_a_slice_is_refused(start_prompt_scorer, slice_predictor, prompt_predictor, monkeypatch):
    scorer = start_prompt_scorer()
    told = "2 of 4 could be scored with their choices read as next_token: leave slice out to see which"
    with pytest.raises(InvalidError, match=told):
        await score(scorer, slice_predictor, [*PROMPTS[:2], WORDS, BAD], as_slice=True)
    monkeypatch.setattr(scorer.batcher, "reserve", lambda count: pytest.fail("it was to be scored"))
    for predictor, prompts, options, told in (
        (prompt_predictor, PROMPTS, {}, "version 2 of tiny-language has no recalibrator of slices: .* method few_shot"),
        (slice_predictor, PROMPTS[:2], {}, "at least 3 prompts with choices, and here are 2: send more"),
        (slice_predictor, PROMPTS, {"readout": Readout.TEXT}, "choices read as next_token: leave the readout out"),
    ):
        with pytest.raises(InvalidError, match=told) as raised:
            await score(scorer, predictor, prompts, as_slice=True, **options)
        assert raised.value.errors[0]["pointer"] == "/slice"
