"""The online path of prompts in this process, with a tiny language model: numbers, readouts, forms, batches."""

import numpy as np
import pytest

from app.scoring.prompt_intake import PromptInput
from app.scoring.prompt_predictor import PromptPredictor
from models.core.prompt_spec import Readout
from models.language.continuations import ChoiceItem
from tests.fixtures.prompt_scoring import BAD, GOOD, LETTERS, SHOTS

pytestmark = pytest.mark.anyio
ONE_TOKEN = [
    ChoiceItem(f"{SHOTS}What is {word}? Answer:", LETTERS[:count]) for word, count in (("blue", 2), ("x", 3), ("🌊", 4))
]
MIXED = [
    *ONE_TOKEN,
    ChoiceItem("The colour of the sea is", (" blue", " the yellow of the sand")),
    ChoiceItem("ما لون البحر؟", (" أزرق", " أصفر كالرمل", " x")),
    ChoiceItem("x", tuple(f" choice {number}" for number in range(64))),
]


def given(item, name="item", **fields):
    return PromptInput(name, item.prompt, item.choices, **fields)


@pytest.mark.parametrize("readout", Readout)
async def test_the_numbers_are_those_of_the_pipeline(start_prompt_scorer, ask_prompts, prompt_predictor, readout):
    items = ONE_TOKEN if readout is Readout.NEXT_TOKEN else MIXED
    expected = prompt_predictor.pipeline.answer(items, readout, scores=("entropy", "energy"), top_k=64)
    outcomes = await ask_prompts(start_prompt_scorer(), list(map(given, items)), readout=readout)
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


async def test_an_answer_does_not_depend_on_its_company(start_prompt_scorer, ask_prompts):
    scorer = start_prompt_scorer()
    prompts = list(map(given, MIXED))
    together = await ask_prompts(scorer, prompts, readout=Readout.TEXT)
    in_pairs = [
        one for at in (0, 2, 4) for one in await ask_prompts(scorer, prompts[at : at + 2], readout=Readout.TEXT)
    ]
    alone = [one for prompt in prompts for one in await ask_prompts(scorer, [prompt], readout=Readout.TEXT)]
    small = await ask_prompts(start_prompt_scorer(batch_tokens=1), prompts, readout=Readout.TEXT)
    for others in (in_pairs, alone, small):
        for one, other in zip(together, others, strict=True):
            assert other.prediction.class_index == one.prediction.class_index
            assert other.prediction.confidence == pytest.approx(one.prediction.confidence, abs=1e-5)


async def test_the_versions_own_readout_or_texts_where_choices_are_not_one_token(
    start_prompt_scorer, ask_prompts, plain_prompt_predictor
):
    outcomes = await ask_prompts(start_prompt_scorer(), list(map(given, MIXED)))
    assert [outcome.readout for outcome in outcomes] == ["next_token"] * 3 + ["text"] * 3
    assert [outcome.calibrated for outcome in outcomes] == [True] * 3 + [False] * 3
    uncalibrated = await ask_prompts(start_prompt_scorer(), list(map(given, ONE_TOKEN)), plain_prompt_predictor)
    for raw, found in zip(uncalibrated, outcomes, strict=False):
        assert not raw.calibrated
        assert raw.prediction.confidence == raw.prediction.raw_confidence
        assert raw.prediction.confidence > found.prediction.confidence, "the temperature is above 1"
    (refused,) = await ask_prompts(start_prompt_scorer(), [given(MIXED[3])], readout=Readout.NEXT_TOKEN)
    assert refused.detail == "not every choice is one token after the prompt; score them as texts"


async def test_forms_of_a_prompt_are_the_text_that_they_stand_for(start_prompt_scorer, ask_prompts, prompt_predictor):
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
    outcomes = await ask_prompts(start_prompt_scorer(), [prompt for prompt, _ in pairs], readout=Readout.TEXT)
    expected = prompt_predictor.pipeline.answer([item for _, item in pairs], Readout.TEXT).answers
    assert [outcome.prediction.confidence for outcome in outcomes] == pytest.approx(expected.confidence, abs=1e-5)
    assert [outcome.prediction.class_index for outcome in outcomes] == expected.class_index.tolist()


async def test_batches_keep_to_the_budget_of_tokens(start_prompt_scorer, ask_prompts, prompt_predictor):
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
        await ask_prompts(
            start_prompt_scorer(batch_tokens=budget, **settings), prompts, predictor, readout=Readout.NEXT_TOKEN
        )
        assert sum(sizes) == 8
        assert max(sizes) == largest


async def test_the_order_of_the_inputs_or_that_of_a_score(start_prompt_scorer, prompt_predictor):
    scorer = start_prompt_scorer()
    asked = {"scores": ["entropy"], "top_k": 1, "timings": {}}
    prompts = [BAD, *map(given, ONE_TOKEN)]
    assert list((await scorer.score(prompt_predictor, prompts, **asked)).order) == [0, 1, 2, 3]
    found = await scorer.score(prompt_predictor, prompts, **asked, sort="entropy")
    values = {row: found.outcomes[row].prediction.uncertainty["entropy"].value for row in (1, 2, 3)}
    assert list(found.order) == [*sorted(values, key=values.get, reverse=True), 0]
    assert found.outcomes[1].prediction.uncertainty.keys() == {"entropy"}


async def test_timings_and_metrics(start_prompt_scorer, prompt_predictor):
    scorer, timings = start_prompt_scorer(), {}
    await scorer.score(prompt_predictor, [GOOD, BAD], scores=None, top_k=1, timings=timings)
    assert 0 < timings["tokenise"] < timings["score"]
    value = scorer.metrics.registry.get_sample_value
    counts = [
        value("howsure_items_total", {"model": "tiny-language", "outcome": what}) for what in ("scored", "invalid")
    ]
    assert counts == [1, 1]
    assert value("howsure_confidence_count", {"model": "tiny-language"}) == 1
    assert value("howsure_stage_duration_seconds_count", {"stage": "prompt_model"}) == 1
