"""The epistemic score of prompts in the form that a request asks for, and what a reply says of it."""

import numpy as np
import pytest
import torch

from app.errors import InvalidError
from app.scoring.asked import Form
from app.scoring.prompt_intake import PromptInput
from app.scoring.prompt_predictor import PromptPredictor, PromptWork
from models.answers import LAST_LAYER
from models.core.prompt_spec import PromptSpec, Readout
from models.language.continuations import ChoiceItem, encoded
from models.language.pipeline import LanguagePipeline, language_dimensions
from models.language.reading import read_items
from models.training.prompts.version import reference_on
from models.uncertainty import score
from tests.fixtures.prompt_scoring import LETTERS

pytestmark = pytest.mark.anyio
NAME = "epistemic"
ITEMS = [ChoiceItem(f"What is {word}? Answer:", LETTERS[:count]) for word, count in (("blue", 2), ("x", 3), ("🌊", 4))]
PROMPTS = [PromptInput("item", item.prompt, item.choices) for item in ITEMS]
TEXTS = PromptInput("texts", "The colour of the sea is", (" blue", " the yellow of the sand"))


@pytest.fixture(scope="module")
def predictor(plain_prompt_predictor):
    language, prompts = plain_prompt_predictor.pipeline.language, PromptSpec(Readout.NEXT_TOKEN)
    outputs = read_items(language, ITEMS, Readout.NEXT_TOKEN, gradients=True).outputs
    dimensions = language_dimensions(language)
    scores = {
        name: reference_on(outputs.with_calibrated(outputs.logits), score(name)(dimensions), language.device)
        for name in ("entropy", NAME)
    }
    pipeline = LanguagePipeline(language, prompts, None, scores)
    return PromptPredictor("tiny-language", 3, plain_prompt_predictor.manifest, pipeline)


@pytest.mark.parametrize("asked", [None, [NAME], [f"{NAME}:fast"], [f"{NAME}:last_layer"]])
async def test_the_form_is_the_one_asked_for(start_prompt_scorer, ask_prompts, predictor, asked):
    cheap = asked == [f"{NAME}:last_layer"]
    outcomes = await ask_prompts(start_prompt_scorer(), PROMPTS, predictor, scores=asked)
    answers = predictor.pipeline.answer(ITEMS, Readout.NEXT_TOKEN, scores=[NAME], cheap=cheap).answers
    scored = predictor.pipeline.scores[NAME]
    reference = scored.forms[LAST_LAYER] if cheap else scored.reference
    for outcome, value in zip(outcomes, answers.scores[NAME][0], strict=True):
        found = outcome.prediction.uncertainty[NAME]
        assert found.form is (Form.LAST_LAYER if cheap else Form.FAST)
        assert found.value == pytest.approx(value, rel=1e-3)
        assert found.percentile == pytest.approx(float(reference.percentile(torch.tensor([found.value]))[0]))


async def test_both_forms_and_neither_share_a_batch(predictor):
    asked = [((NAME,), False), ((NAME,), True), (("entropy",), True)]
    shared = {"tokens": 1, "prompt": np.zeros(1, np.int64), "readout": Readout.NEXT_TOKEN, "task": None, "top_k": 1}
    works = [
        PromptWork(predictor, encoded(predictor.pipeline.language, item), scores=scores, cheap=cheap, **shared)
        for item, (scores, cheap) in zip(ITEMS, asked, strict=True)
    ]
    found = [each.prediction.uncertainty for each in predictor.predict(works, cores=1)]
    assert [{name: score.form for name, score in each.items()} for each in found] == [
        {NAME: Form.FAST},
        {NAME: Form.LAST_LAYER},
        {"entropy": None},
    ]
    for row, cheap in ((0, False), (1, True)):
        alone = predictor.pipeline.answer([ITEMS[row]], Readout.NEXT_TOKEN, scores=[NAME], cheap=cheap).answers
        assert found[row][NAME].value == pytest.approx(alone.scores[NAME][0][0], rel=1e-3)


async def test_choices_that_are_read_as_texts_say_so(start_prompt_scorer, ask_prompts, predictor):
    letters, texts = await ask_prompts(start_prompt_scorer(), [PROMPTS[0], TEXTS], predictor)
    assert letters.prediction.uncertainty[NAME].form is Form.FAST
    found = texts.prediction.uncertainty[NAME]
    assert (found.form, found.percentile) == (Form.LAST_LAYER, None)
    assert "next_token" in found.note


@pytest.mark.parametrize("asked", [f"{NAME}:exact", "entropy:fast"])
async def test_a_form_that_is_not_there_is_refused(start_prompt_scorer, ask_prompts, predictor, asked):
    with pytest.raises(InvalidError, match="form"):
        await ask_prompts(start_prompt_scorer(), PROMPTS, predictor, scores=[asked])
