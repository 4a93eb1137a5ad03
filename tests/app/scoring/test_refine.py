"""Stage two with a small real version whose forms are made up: order, budget, room, faults, callers that leave."""

import asyncio
import re
import time

import numpy as np
import pytest
import torch

from app.errors import HowsureError, InvalidError
from app.scoring.catalog import Catalog
from app.scoring.intake import ImageInput, Limits, decode
from app.scoring.predictor import Predictor
from app.scoring.refine import REQUESTS
from app.scoring.scorer import Scorer
from app.settings import Settings
from app.telemetry import Metrics
from models.backbones.prepared import exact_gradients, prepare
from models.pipeline import assemble
from tests.fixtures.formed import exact_value
from tests.fixtures.images import image_file

pytestmark = pytest.mark.anyio
IMAGES = [ImageInput(str(seed), image_file(seed)) for seed in range(6)]
BAD = ImageInput("bad", b"no image")
EXACT = {"model": None, "scores": ["epistemic:exact"], "top_k": 1}


@pytest.fixture
async def start(formed_store):
    """`start(predictor, **settings)`: a scorer that answers with it."""
    started = []

    def start(predictor, **settings):
        settings = Settings(store=formed_store.root, **settings)
        catalog = Catalog(settings)
        catalog.predictors, catalog.loaded = {predictor.model: predictor}, True
        scorer = Scorer(settings, catalog, Metrics())
        scorer.batcher.start()
        started.append(scorer)
        return scorer

    yield start
    for scorer in started:
        await scorer.close()


async def ask(scorer, images=IMAGES, **options):
    return (await scorer.score(images, **(EXACT | {"timings": {}} | options))).outcomes


def forms(outcomes):
    return [outcome.uncertainty["epistemic"].form for outcome in outcomes]


def notes(outcomes):
    return [outcome.uncertainty["epistemic"].note for outcome in outcomes]


def counted(scorer, name, **labels):
    return scorer.metrics.registry.get_sample_value(name, {"model": "tiny", **labels}) or 0.0


def ended(scorer):
    """What became of stage two, by request."""
    found = [sample for family in scorer.metrics.exact.collect() for sample in family.samples]
    return {it.labels["outcome"]: it.value for it in found if it.name.endswith("_total")}


async def test_every_item_gets_its_own_exact_value(start, formed):
    predictor = formed()
    scorer, timings = start(predictor), {}
    outcomes = await ask(scorer, [*IMAGES, BAD], timings=timings)
    assert isinstance(outcomes[-1], HowsureError)
    spec, limits = predictor.pipeline.network.input_spec, Limits(2**24, 2**24)
    expected = [(exact_value(decode(image, spec, limits)), 0.25) for image in IMAGES]
    scores = [outcome.uncertainty["epistemic"] for outcome in outcomes[:-1]]
    assert [(score.value, score.percentile) for score in scores] == expected
    assert {score.kind for score in scores} == {"epistemic"}
    assert timings["exact"] > 0
    assert ended(scorer) == {"complete": 1}


async def test_exact_values_are_those_of_the_gradients(start, tiny, planned):
    predictor = Predictor("tiny", 1, planned.manifest, with_gradients(tiny, planned))
    scorer = start(predictor)
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


async def test_the_most_doubtful_items_come_first(start, formed):
    predictor = formed()
    scorer = start(predictor)
    fast = await ask(scorer, scores=["epistemic"])
    doubt = [outcome.uncertainty["epistemic"].percentile for outcome in fast]
    order = sorted(range(len(fast)), key=lambda row: (doubt[row], fast[row].uncertainty["epistemic"].value))[::-1]
    exact = await ask(scorer)
    values = [exact[row].uncertainty["epistemic"].value for row in order]
    assert [exact_value(image) for image in predictor.pipeline.exact_pixels] == values
    top = await ask(scorer, exact_top=2)
    assert {row for row, form in enumerate(forms(top)) if form == "exact"} == set(order[:2])
    assert forms(top).count("fast") == 4


async def test_without_forms_asked_for_there_is_no_stage_two(start, formed):
    scorer, timings = start(formed()), {}
    assert forms(await ask(scorer, scores=None, timings=timings)) == ["fast"] * 6
    assert forms(await ask(scorer, scores=["epistemic:fast"])) == ["fast"] * 6
    assert forms(await ask(scorer, scores=["epistemic:last_layer"])) == ["last_layer"] * 6
    (outcome,) = await ask(scorer, IMAGES[:1], scores=None)
    assert {name for name, score in outcome.uncertainty.items() if score.form} == {"epistemic"}
    assert "exact" not in timings
    assert ended(scorer) == {}


async def test_forms_add_up_to_items(start, formed):
    scorer = start(formed(seconds=0.03))
    for budget in (0, 1, 70, 100_000):
        await ask(scorer, budget_ms=budget)
    counts = {
        form: counted(scorer, "howsure_score_forms_total", score="epistemic", form=form)
        for form in ("exact", "fast", "last_layer")
    }
    assert sum(counts.values()) == counted(scorer, "howsure_items_total", outcome="scored") == 24
    assert counts["exact"] >= 6
    assert counts["last_layer"] >= 6


async def test_a_budget_of_nothing_is_the_last_layer(start, formed):
    predictor = formed()
    for scorer, budget in ((start(predictor), 0), (start(predictor, exact_seconds=0), None)):
        outcomes = await ask(scorer, budget_ms=budget)
        assert forms(outcomes) == ["last_layer"] * 6
        assert ended(scorer) == {"out_of_time": 1}
    assert not predictor.pipeline.running.is_set()


async def test_a_budget_that_ends_in_the_middle_keeps_what_is_there(start, formed):
    scorer = start(formed(seconds=0.3))
    outcomes = await ask(scorer, budget_ms=1000)
    found = forms(outcomes)
    assert 1 <= found.count("exact") <= 4
    assert found.count("fast") == 6 - found.count("exact")
    for form, note in zip(found, notes(outcomes), strict=True):
        assert (form == "exact") is (note is None)
        assert note is None or re.fullmatch(
            r"no time for the exact form, which takes about 0\.\d s an image here", note
        )
    assert ended(scorer) == {"out_of_time": 1}


async def test_a_fast_form_that_does_not_fit_is_known_once_it_was_measured(start, formed):
    scorer = start(formed(fast_seconds=0.5))
    assert forms(await ask(scorer, IMAGES[:1], scores=["epistemic"], budget_ms=400)) == ["fast"]
    assert forms(await ask(scorer, IMAGES[:1], scores=["epistemic"], budget_ms=400)) == ["last_layer"]
    assert forms(await ask(scorer, IMAGES[:1], scores=["epistemic"])) == ["fast"]


async def test_nobody_waits_for_what_was_not_done_in_more_time(start, formed):
    predictor = formed(stuck=True)
    scorer = start(predictor)
    assert forms(await ask(scorer, budget_ms=500)) == ["fast"] * 6
    started = time.monotonic()
    assert forms(await ask(scorer, budget_ms=800)) == ["fast"] * 6
    assert time.monotonic() - started < 0.7
    assert ended(scorer) == {"out_of_time": 2}
    predictor.pipeline.stuck = False
    assert forms(await ask(scorer, budget_ms=5000)) == ["exact"] * 6


@pytest.mark.parametrize("settings", [{"request_seconds": 2}, {"drain_seconds": 2}])
async def test_neither_the_time_of_a_request_nor_a_shutdown_ends_stage_two(start, formed, settings):
    scorer = start(formed(seconds=0.2), **settings)
    started = time.monotonic()
    found = forms(await ask(scorer, IMAGES * 2, budget_ms=60_000))
    assert time.monotonic() - started < 2
    assert {"exact", "fast"} == set(found)


async def test_a_lane_that_is_full_refuses_nobody(start, formed):
    predictor = formed(seconds=20)
    scorer = start(predictor)
    waiting = [asyncio.create_task(ask(scorer, IMAGES[:1])) for _ in range(REQUESTS)]
    while scorer.refiner.lane.admitted < REQUESTS:
        await asyncio.sleep(0.01)
    assert scorer.metrics.registry.get_sample_value("howsure_exact_lane_requests") == REQUESTS
    outcomes = await ask(scorer)
    assert forms(outcomes) == ["fast"] * 6
    assert set(notes(outcomes)) == {"no room for the exact form: too many requests wait for theirs"}
    assert ended(scorer) == {"lane_full": 1}
    assert scorer.batcher.admitted == 0, "items in stage two take no room from others"
    predictor.pipeline.go.set()
    assert [forms(outcomes) for outcomes in await asyncio.gather(*waiting)] == [["exact"]] * REQUESTS


async def test_who_waits_behind_a_long_one_keeps_its_own_budget(start, formed):
    predictor = formed(seconds=20)
    scorer = start(predictor)
    long = asyncio.create_task(ask(scorer, IMAGES[:1]))
    await asyncio.to_thread(predictor.pipeline.running.wait, 5)
    started = time.monotonic()
    assert forms(await ask(scorer, budget_ms=300)) == ["fast"] * 6
    assert time.monotonic() - started < 2
    predictor.pipeline.go.set()
    assert forms(await long) == ["exact"]


async def test_stage_two_has_a_core_of_its_own(start, formed):
    predictor = formed(seconds=20)
    scorer = start(predictor, threads=2)
    await ask(scorer, IMAGES[:1], scores=["epistemic"])
    assert predictor.pipeline.cores == 2
    exact = asyncio.create_task(ask(scorer, IMAGES[:1]))
    await asyncio.to_thread(predictor.pipeline.running.wait, 5)
    await ask(scorer, IMAGES[:1], scores=["epistemic"])
    assert predictor.pipeline.cores == 1
    predictor.pipeline.go.set()
    await exact


async def test_a_caller_that_leaves_stops_its_stage_two(start, formed):
    predictor = formed(seconds=20)
    scorer = start(predictor)
    call = asyncio.create_task(ask(scorer))
    await asyncio.to_thread(predictor.pipeline.running.wait, 5)
    call.cancel()
    assert await asyncio.to_thread(predictor.pipeline.stopped.wait, 2)
    assert len(predictor.pipeline.exact_pixels) == 1
    assert ended(scorer) == {"client_gone": 1}
    assert scorer.refiner.lane.admitted == 0


@pytest.mark.parametrize("fault", [RuntimeError("out of memory"), MemoryError()])
async def test_a_fault_leaves_the_fast_value_and_is_logged(start, formed, caplog, fault):
    predictor = formed(fault=fault)
    scorer = start(predictor)
    outcomes = await ask(scorer)
    assert forms(outcomes) == ["fast"] * 6
    assert set(notes(outcomes)) == {"the exact form failed; the server's log has the reason"}
    assert ended(scorer) == {"failed": 1}
    assert {record.event for record in caplog.records} == {"item_failed", "exact_failed"}
    predictor.pipeline.fault = None
    assert forms(await ask(scorer)) == ["exact"] * 6


async def test_a_value_that_is_no_number_is_none_at_all(start, formed, monkeypatch):
    monkeypatch.setattr("tests.fixtures.formed.exact_value", lambda image: float("nan"))
    assert forms(await ask(start(formed()))) == ["fast"] * 6


async def test_a_swap_between_the_stages_mixes_nothing(start, formed):
    before, after = formed(seconds=20), formed(version=2)
    scorer = start(before)
    call = asyncio.create_task(scorer.score(IMAGES, **EXACT, timings={}))
    await asyncio.to_thread(before.pipeline.running.wait, 5)
    scorer.catalog.predictors = {"tiny": after}
    before.pipeline.go.set()
    scored = await call
    assert scored.predictor is before
    assert forms(scored.outcomes) == ["exact"] * 6
    assert len(before.pipeline.exact_pixels) == 6
    assert not after.pipeline.exact_pixels


async def test_closing_answers_everybody(start, formed):
    predictor = formed(seconds=20)
    scorer = start(predictor, drain_seconds=1)
    calls = [asyncio.create_task(ask(scorer, IMAGES[:2])) for _ in range(4)]
    await asyncio.to_thread(predictor.pipeline.running.wait, 5)
    started = time.monotonic()
    await scorer.close()
    assert time.monotonic() - started < 2
    answers = await asyncio.gather(*calls)
    assert {form for outcomes in answers for form in forms(outcomes)} <= {"exact", "fast"}


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
async def test_what_cannot_be_had_is_refused_with_what_there_is(start, formed, options, detail):
    with pytest.raises(InvalidError, match=detail) as raised:
        await ask(start(formed()), **options)
    assert raised.value.errors[0]["pointer"] in ("/scores", "/exact_top")


async def test_a_version_without_gradients_has_the_last_layer_alone(start, formed):
    scorer = start(formed(having=()))
    assert forms(await ask(scorer, scores=["epistemic"])) == ["last_layer"] * 6
    assert forms(await ask(scorer, scores=["epistemic:last_layer"])) == ["last_layer"] * 6
    with pytest.raises(InvalidError, match="no form 'exact'; it has: last_layer"):
        await ask(scorer)
