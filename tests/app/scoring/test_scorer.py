"""The online path in this process, with the shipped model: order, limits, time, cancellation."""

import asyncio
import time

import pytest

from app.errors import (
    HowsureError,
    InternalError,
    InvalidError,
    NotFoundError,
    NotReadyError,
    PayloadTooLargeError,
    QueueFullError,
    TimedOutError,
)
from app.scoring.catalog import Catalog
from app.scoring.intake import ImageInput
from app.scoring.scorer import Scorer
from app.settings import Settings
from app.telemetry import Metrics
from tests.fixtures.images import image_file

pytestmark = pytest.mark.anyio
GOOD, BAD = ImageInput("good", image_file(1)), ImageInput("bad", b"no image")
ASKED = {"model": None, "scores": None, "top_k": 1}


@pytest.fixture(scope="module")
def catalog(server, session_store):
    catalog = Catalog(Settings(store=session_store, max_batch=1))
    catalog.load()
    return catalog


@pytest.fixture
async def start_scorer(catalog):
    started = []

    def start(catalog=catalog, **settings):
        scorer = Scorer(Settings(store=catalog.settings.store, **settings), catalog, Metrics())
        scorer.batcher.start()
        started.append(scorer)
        return scorer

    yield start
    for scorer in started:
        await scorer.close()


async def test_one_outcome_an_input_in_order(start_scorer):
    timings = {}
    scored = await start_scorer().score([GOOD, BAD, GOOD], **ASKED, timings=timings)
    first, second, third = scored.outcomes
    assert isinstance(second, HowsureError)
    assert first.class_index == third.class_index
    assert first.uncertainty.keys() == {"entropy", "max_prob", "energy", "epistemic", "loss_rank"}
    assert 0 < timings["decode"] < timings["score"]


async def test_the_order_of_the_inputs_or_that_of_a_score(start_scorer):
    scorer = start_scorer()
    images = [ImageInput(str(seed), image_file(seed)) for seed in range(4)]
    plain = await scorer.score([BAD, *images], **ASKED, timings={})
    assert list(plain.order) == [0, 1, 2, 3, 4]
    found = await scorer.score([BAD, *images], **ASKED, sort="entropy", timings={})
    values = {row: found.outcomes[row].uncertainty["entropy"].value for row in range(1, 5)}
    assert list(found.order) == [*sorted(values, key=values.get, reverse=True), 0]


async def test_embeddings_come_with_one_score_and_only_where_asked_for(start_scorer):
    scorer = start_scorer()
    embedded, scored = await asyncio.gather(
        scorer.score([GOOD], **ASKED, embed=True, timings={}), scorer.score([GOOD], **ASKED, timings={})
    )
    assert embedded.outcomes[0].embedding.shape == (1280,)
    assert len(embedded.outcomes[0].uncertainty) == 1
    assert scored.outcomes[0].embedding is None
    with_several = await scorer.score([GOOD], **(ASKED | {"scores": ["energy"]}), embed=True, timings={})
    assert list(with_several.outcomes[0].uncertainty) == ["energy"]


async def test_nobody_waits_for_an_image_that_could_not_be_decoded(start_scorer):
    scorer = start_scorer(max_wait_ms=1000)
    started = time.perf_counter()
    await scorer.score([GOOD, BAD], **ASKED, timings={})
    assert time.perf_counter() - started < 0.9


async def test_room_is_given_back_whatever_happens(start_scorer):
    scorer = start_scorer()
    await scorer.score([GOOD, BAD], **ASKED, timings={})
    await scorer.score([BAD], **ASKED, timings={})
    with pytest.raises(NotFoundError):
        await scorer.score([GOOD], **(ASKED | {"model": "nothing"}), timings={})
    with pytest.raises(InvalidError):
        await scorer.score([GOOD], **(ASKED | {"scores": ["luck"]}), timings={})
    with pytest.raises(PayloadTooLargeError):
        await scorer.score([GOOD] * 65, **ASKED, timings={})
    assert scorer.batcher.admitted == 0


async def test_not_ready_before_the_models_are_loaded(start_scorer, session_store):
    with pytest.raises(NotReadyError, match="loading"):
        await start_scorer(Catalog(Settings(store=session_store, max_batch=1))).score([GOOD], **ASKED, timings={})


async def test_time_is_limited(start_scorer):
    scorer = start_scorer(request_seconds=0.01)
    with pytest.raises(TimedOutError, match=r"0\.01 s"):
        await scorer.score([ImageInput("x", image_file(n, (900, 900))) for n in range(32)], **ASKED, timings={})
    assert scorer.batcher.admitted == 0
    scorer.settings = Settings(store=scorer.settings.store)
    assert len((await scorer.score([GOOD], **ASKED, timings={})).outcomes) == 1


async def test_a_cancelled_call_leaves_nothing_behind(start_scorer):
    scorer = start_scorer()
    calls = [asyncio.create_task(scorer.score([GOOD] * 8, **ASKED, timings={})) for _ in range(8)]
    await asyncio.sleep(0.005)
    assert scorer.batcher.admitted == 64
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    assert all(call.cancelled() for call in calls)
    assert scorer.batcher.admitted == 0
    assert len((await scorer.score([GOOD], **ASKED, timings={})).outcomes) == 1


async def test_a_full_queue_refuses_whole_requests(start_scorer):
    scorer = start_scorer(queue_items=8, max_items=8)
    calls = [asyncio.create_task(scorer.score([GOOD] * 5, **ASKED, timings={})) for _ in range(3)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) is QueueFullError for outcome in outcomes] == [False, True, True]


async def test_a_model_that_breaks_is_an_error_in_place(start_scorer, catalog, caplog):
    """A request for a class count that the work cannot hold stands for any fault inside the model."""
    scorer = start_scorer()
    (outcome,) = (await scorer.score([GOOD], **(ASKED | {"top_k": "three"}), timings={})).outcomes
    assert isinstance(outcome, InternalError)
    assert len((await scorer.score([GOOD], **ASKED, timings={})).outcomes) == 1


async def test_after_close_nothing_is_taken(start_scorer):
    scorer = start_scorer()
    await scorer.close()
    with pytest.raises(NotReadyError, match="shut"):
        await scorer.score([GOOD], **ASKED, timings={})
