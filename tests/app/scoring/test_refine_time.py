"""Stage two in time: budgets, a lane that is full, callers that leave, a server that closes."""

import asyncio
import re
import time

import pytest

from app.scoring.refine import REQUESTS
from tests.fixtures.refining import IMAGES, ask, ended, forms, notes

pytestmark = pytest.mark.anyio


async def test_a_budget_of_nothing_is_the_last_layer(start_with, formed):
    predictor = formed()
    for scorer, budget in ((start_with(predictor), 0), (start_with(predictor, exact_seconds=0), None)):
        outcomes = await ask(scorer, budget_ms=budget)
        assert forms(outcomes) == ["last_layer"] * 6
        assert ended(scorer) == {"out_of_time": 1}
    assert not predictor.pipeline.running.is_set()


async def test_a_budget_that_ends_in_the_middle_keeps_what_is_there(start_with, formed):
    scorer = start_with(formed(seconds=0.3))
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


async def test_a_fast_form_that_does_not_fit_is_known_once_it_was_measured(start_with, formed):
    scorer = start_with(formed(fast_seconds=0.5))
    assert forms(await ask(scorer, IMAGES[:1], scores=["epistemic"], budget_ms=400)) == ["fast"]
    assert forms(await ask(scorer, IMAGES[:1], scores=["epistemic"], budget_ms=400)) == ["last_layer"]
    assert forms(await ask(scorer, IMAGES[:1], scores=["epistemic"])) == ["fast"]


async def test_nobody_waits_for_what_was_not_done_in_more_time(start_with, formed):
    predictor = formed(stuck=True)
    scorer = start_with(predictor)
    assert forms(await ask(scorer, budget_ms=500)) == ["fast"] * 6
    started = time.monotonic()
    assert forms(await ask(scorer, budget_ms=800)) == ["fast"] * 6
    assert time.monotonic() - started < 0.7
    assert ended(scorer) == {"out_of_time": 2}
    predictor.pipeline.stuck = False
    assert forms(await ask(scorer, budget_ms=5000)) == ["exact"] * 6


@pytest.mark.parametrize("settings", [{"request_seconds": 2}, {"drain_seconds": 2}])
async def test_neither_the_time_of_a_request_nor_a_shutdown_ends_stage_two(start_with, formed, settings):
    scorer = start_with(formed(seconds=0.2), **settings)
    started = time.monotonic()
    found = forms(await ask(scorer, IMAGES * 2, budget_ms=60_000))
    assert time.monotonic() - started < 2
    assert {"exact", "fast"} == set(found)


async def test_a_lane_that_is_full_refuses_nobody(start_with, formed):
    predictor = formed(seconds=20)
    scorer = start_with(predictor)
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


async def test_who_waits_behind_a_long_one_keeps_its_own_budget(start_with, formed):
    predictor = formed(seconds=20)
    scorer = start_with(predictor)
    long = asyncio.create_task(ask(scorer, IMAGES[:1]))
    assert await asyncio.to_thread(predictor.pipeline.running.wait, 5)
    started = time.monotonic()
    assert forms(await ask(scorer, budget_ms=300)) == ["fast"] * 6
    assert time.monotonic() - started < 2
    predictor.pipeline.go.set()
    assert forms(await long) == ["exact"]


async def test_stage_two_has_a_core_of_its_own(start_with, formed):
    predictor = formed(seconds=20)
    scorer = start_with(predictor, threads=2)
    await ask(scorer, IMAGES[:1], scores=["epistemic"])
    assert predictor.pipeline.cores == 2
    exact = asyncio.create_task(ask(scorer, IMAGES[:1]))
    assert await asyncio.to_thread(predictor.pipeline.running.wait, 5)
    await ask(scorer, IMAGES[:1], scores=["epistemic"])
    assert predictor.pipeline.cores == 1
    predictor.pipeline.go.set()
    await exact


async def test_a_caller_that_leaves_stops_its_stage_two(start_with, formed):
    predictor = formed(seconds=20)
    scorer = start_with(predictor)
    call = asyncio.create_task(ask(scorer))
    assert await asyncio.to_thread(predictor.pipeline.running.wait, 5)
    call.cancel()
    assert await asyncio.to_thread(predictor.pipeline.stopped.wait, 2)
    assert len(predictor.pipeline.exact_pixels) == 1
    assert ended(scorer) == {"client_gone": 1}
    assert scorer.refiner.lane.admitted == 0


async def test_closing_answers_everybody(start_with, formed):
    predictor = formed(seconds=20)
    scorer = start_with(predictor, drain_seconds=1)
    calls = [asyncio.create_task(ask(scorer, IMAGES[:2])) for _ in range(4)]
    assert await asyncio.to_thread(predictor.pipeline.running.wait, 5)
    started = time.monotonic()
    await scorer.close()
    assert time.monotonic() - started < 2
    answers = await asyncio.gather(*calls)
    assert {form for outcomes in answers for form in forms(outcomes)} <= {"exact", "fast"}
