"""Forms within a batch: who shares a forward pass, and when the fast form is tried."""

import time

import numpy as np
import pytest

from app.scoring.asked import Asked, Form, TimeLimits
from app.scoring.predictor import Work

FOREVER = float("inf")


@pytest.fixture
def predict():
    """`predict(predictor, *asked)`: the forms that came of one batch, an item each."""

    def predict(predictor, *asked):
        spec = predictor.pipeline.network.input_spec
        pixels = np.zeros((spec.height, spec.width, 3), np.uint8)
        predictions = predictor.predict([Work(predictor, pixels, its) for its in asked], 1)
        return [{name: score.form for name, score in it.uncertainty.items()} for it in predictions]

    return predict


def asked(*scores, seconds=FOREVER, **options):
    return Asked(scores, 1, TimeLimits(time.monotonic() + seconds, FOREVER), **options)


def test_a_batch_takes_two_passes_only_where_forms_differ(formed, predict):
    fast, cheap = asked("epistemic", "energy"), asked("epistemic", last_layer=True)
    neither = asked("energy")
    for batch, passes in (
        ([fast, neither, fast], [(3, False)]),
        ([cheap, neither, cheap], [(3, True)]),
        ([neither], [(1, True)]),
        ([cheap, fast, neither, cheap], [(2, False), (2, True)]),
    ):
        predictor = formed()
        found = predict(predictor, *batch)
        assert sorted(predictor.pipeline.passes) == passes
        forms = {id(fast): Form.FAST, id(cheap): Form.LAST_LAYER}
        assert [it.get("epistemic") for it in found] == [forms.get(id(its)) for its in batch]
        assert all(it.get("energy") is None for it in found)


def test_items_of_two_passes_keep_their_order(formed):
    predictor = formed()
    spec = predictor.pipeline.network.input_spec
    pixels = np.random.default_rng(0).integers(0, 256, (4, spec.height, spec.width, 3), np.uint8)
    wants = [asked("energy", "epistemic", last_layer=bool(row % 2)) for row in range(4)]
    together = predictor.predict([Work(predictor, image, its) for image, its in zip(pixels, wants, strict=True)], 1)
    expected = predictor.pipeline.answer(pixels, ["energy"]).scores["energy"][0]
    found = [prediction.uncertainty["energy"].value for prediction in together]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_pixels_are_kept_for_stage_two_alone(formed):
    predictor = formed()
    spec = predictor.pipeline.network.input_spec
    pixels = np.zeros((spec.height, spec.width, 3), np.uint8)
    plain, exact = asked("epistemic"), asked("epistemic", exact=("epistemic",))
    found = predictor.predict([Work(predictor, pixels, plain), Work(predictor, pixels, exact)], 1)
    assert [prediction.pixels is pixels for prediction in found] == [False, True]


def test_an_embedding_is_a_copy_for_who_asked_for_it(formed):
    predictor = formed()
    spec = predictor.pipeline.network.input_spec
    pixels = np.random.default_rng(0).integers(0, 256, (3, spec.height, spec.width, 3), np.uint8)
    wants = [asked("energy"), asked("energy", embed=True), asked("epistemic", embed=True, last_layer=True)]
    works = [Work(predictor, image, its) for image, its in zip(pixels, wants, strict=True)]
    plain, first, second = predictor.predict(works, 1)
    assert plain.embedding is None
    expected = predictor.pipeline.network.outputs(pixels).require_features().numpy()
    for found, row in ((first, 1), (second, 2)):
        np.testing.assert_allclose(found.embedding, expected[row], atol=0.02 * np.abs(expected).max())
        assert found.embedding.base is None


def test_a_budget_that_is_spent_gets_the_last_layer(formed, predict):
    predictor = formed()
    forms = predict(predictor, asked("epistemic", seconds=-1), asked("epistemic", seconds=60))
    assert forms == [{"epistemic": Form.LAST_LAYER}, {"epistemic": Form.FAST}]


def test_all_items_of_a_request_have_one_form(formed, predict):
    """With a budget at the edge of what fits, since each refusal makes the next try likelier."""
    predictor = formed()
    predictor.fast_pace.observe(1, 10.0)
    for _ in range(300):
        predictor.fast_pace.fits(1, 9.0)
    tight = asked("epistemic", seconds=6.0)
    for _ in range(60):
        assert len({it["epistemic"] for it in predict(predictor, *[tight] * 4)}) == 1
