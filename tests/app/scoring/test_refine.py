"""Stage two: values, order, forms and faults, with a small real version whose forms are made up."""

import asyncio

import numpy as np
import pytest
import torch

from app.errors import HowsureError, InvalidError
from app.scoring.intake import ImageInput, Limits, decode
from app.scoring.predictor import Predictor
from models.backbones.prepared import exact_gradients, prepare
from models.pipeline import assemble
from tests.fixtures.formed import exact_value
from tests.fixtures.refining import EXACT, IMAGES, ask, ended, forms, notes

pytestmark = pytest.mark.anyio
BAD = ImageInput("bad", b"no image")


def counted(scorer, name, **labels):
    return scorer.metrics.registry.get_sample_value(name, {"model": "tiny", **labels}) or 0.0


async def test_every_item_gets_its_own_exact_value(start_with, formed):
    predictor = formed()
    scorer, timings = start_with(predictor), {}
    outcomes = await ask(scorer, [*IMAGES, BAD], timings=timings)
    assert isinstance(outcomes[-1], HowsureError)
    spec, limits = predictor.pipeline.network.input_spec, Limits(2**24, 2**24)
    expected = [(exact_value(decode(image, spec, limits)), 0.25) for image in IMAGES]
    scores = [outcome.uncertainty["epistemic"] for outcome in outcomes[:-1]]
    assert [(score.value, score.percentile) for score in scores] == expected
    assert {score.kind for score in scores} == {"epistemic"}
    assert timings["exact"] > 0
    assert ended(scorer) == {"complete": 1}


async def test_exact_values_are_those_of_the_gradients(start_with, tiny, planned):
    predictor = Predictor("tiny", 1, planned.manifest, with_gradients(tiny, planned))
    scorer = start_with(predictor)
    exact, fast = await ask(scorer), await ask(scorer, scores=["epistemic"])
    assert (forms(exact), forms(fast)) == (["exact"] * 6, ["fast"] * 6)
    spec, limits = predictor.pipeline.network.input_spec, Limits(2**24, 2**24)
    pixels = np.stack([decode(image, spec, limits) for image in IMAGES])
    expected = [value for value, _ in predictor.pipeline.exact("epistemic", pixels, lambda: False)]
    found = [outcome.uncertainty["epistemic"].value for outcome in exact]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert found != [outcome.uncertainty["epistemic"].value for outcome in fast]


def with_gradients(tiny, planned):
    """The pipeline of the version with a plan for its gradients; no reference is of the exact form."""
    manifest, cpu = planned.manifest, torch.device("cpu")
    kind, spec, plan = manifest.backbone.kind, manifest.input_spec, manifest.gradients
    network = prepare(tiny.network, kind, spec, cpu, "float32", plan=plan)
    return assemble(network, planned, exact=exact_gradients(tiny.network, kind, spec, cpu, plan))


async def test_the_most_doubtful_items_come_first(start_with, formed):
    predictor = formed()
    scorer = start_with(predictor)
    fast = await ask(scorer, scores=["epistemic"])
    doubt = [outcome.uncertainty["epistemic"].percentile for outcome in fast]
    order = sorted(range(len(fast)), key=lambda row: (doubt[row], fast[row].uncertainty["epistemic"].value))[::-1]
    exact = await ask(scorer)
    values = [exact[row].uncertainty["epistemic"].value for row in order]
    assert [exact_value(image) for image in predictor.pipeline.exact_pixels] == values
    top = await ask(scorer, exact_top=2)
    assert {row for row, form in enumerate(forms(top)) if form == "exact"} == set(order[:2])
    assert forms(top).count("fast") == 4


async def test_without_forms_asked_for_there_is_no_stage_two(start_with, formed):
    scorer, timings = start_with(formed()), {}
    assert forms(await ask(scorer, scores=None, timings=timings)) == ["fast"] * 6
    assert forms(await ask(scorer, scores=["epistemic:fast"])) == ["fast"] * 6
    assert forms(await ask(scorer, scores=["epistemic:last_layer"])) == ["last_layer"] * 6
    (outcome,) = await ask(scorer, IMAGES[:1], scores=None)
    assert {name for name, score in outcome.uncertainty.items() if score.form} == {"epistemic"}
    assert "exact" not in timings
    assert ended(scorer) == {}


async def test_forms_add_up_to_items(start_with, formed):
    scorer = start_with(formed(seconds=0.03))
    for budget in (0, 1, 70, 100_000):
        await ask(scorer, budget_ms=budget)
    counts = {
        form: counted(scorer, "howsure_score_forms_total", score="epistemic", form=form)
        for form in ("exact", "fast", "last_layer")
    }
    assert sum(counts.values()) == counted(scorer, "howsure_items_total", outcome="scored") == 24
    assert counts["exact"] >= 6
    assert counts["last_layer"] >= 6


@pytest.mark.parametrize("fault", [RuntimeError("out of memory"), MemoryError()])
async def test_a_fault_leaves_the_fast_value_and_is_logged(start_with, formed, caplog, fault):
    predictor = formed(fault=fault)
    scorer = start_with(predictor)
    outcomes = await ask(scorer)
    assert forms(outcomes) == ["fast"] * 6
    assert set(notes(outcomes)) == {"the exact form failed; the server's log has the reason"}
    assert ended(scorer) == {"failed": 1}
    assert {record.event for record in caplog.records} == {"item_failed", "exact_failed"}
    predictor.pipeline.fault = None
    assert forms(await ask(scorer)) == ["exact"] * 6


async def test_a_value_that_is_no_number_is_none_at_all(start_with, formed, monkeypatch):
    monkeypatch.setattr("tests.fixtures.formed.exact_value", lambda image: float("nan"))
    assert forms(await ask(start_with(formed()))) == ["fast"] * 6


async def test_a_swap_between_the_stages_mixes_nothing(start_with, formed):
    before, after = formed(seconds=20), formed(version=2)
    scorer = start_with(before)
    call = asyncio.create_task(scorer.score(IMAGES, **EXACT, timings={}))
    assert await asyncio.to_thread(before.pipeline.running.wait, 5)
    scorer.catalog.predictors = {"tiny": after}
    before.pipeline.go.set()
    scored = await call
    assert scored.predictor is before
    assert forms(scored.outcomes) == ["exact"] * 6
    assert len(before.pipeline.exact_pixels) == 6
    assert not after.pipeline.exact_pixels


@pytest.mark.parametrize(
    ("options", "detail"),
    [
        ({"scores": ["luck:exact"]}, "no score luck; it has: entropy"),
        ({"scores": ["epistemic:slow"]}, "no form 'slow'; it has: exact, fast, last_layer"),
        ({"scores": ["epistemic:"]}, "no form ''"),
        ({"scores": ["entropy:exact"]}, "has no forms; ask for entropy alone"),
        ({"scores": ["epistemic", "epistemic:exact"]}, "as fast and as exact; name one"),
        ({"scores": ["epistemic"], "exact_top": 1}, "epistemic:exact"),
    ],
)
async def test_what_cannot_be_had_is_refused_with_what_there_is(start_with, formed, options, detail):
    with pytest.raises(InvalidError, match=detail) as raised:
        await ask(start_with(formed()), **options)
    assert raised.value.errors[0]["pointer"] in ("/scores", "/exact_top")


async def test_a_version_without_gradients_has_the_last_layer_alone(start_with, formed):
    scorer = start_with(formed(having=()))
    assert forms(await ask(scorer, scores=["epistemic"])) == ["last_layer"] * 6
    assert forms(await ask(scorer, scores=["epistemic:last_layer"])) == ["last_layer"] * 6
    with pytest.raises(InvalidError, match="no form 'exact'; it has: last_layer"):
        await ask(scorer)
