"""`POST /v1/images/score`: read the images, call the scorer, shape the answer."""

import asyncio
import uuid
from collections.abc import Coroutine, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Query, Request, Response

from app.api.body import Options, read_images
from app.api.deps import ScorerDep, SettingsDep, problems, require
from app.api.schemas import (
    FailedItem,
    Problem,
    ScoredItem,
    ScoreQuery,
    ScoreResponse,
    ScoreUsage,
    TopEntry,
    UncertaintyValue,
)
from app.errors import ClientGoneError, HowsureError, NoneScoredError
from app.keys import Scope
from app.scoring.intake import ImageInput
from app.scoring.predictor import Prediction, ScoreValue
from app.scoring.scorer import Scored

router = APIRouter(tags=["score"], dependencies=[Depends(require(Scope.SCORE))])

Answer = TypeVar("Answer")

DEFAULT_TOP_K = 5
REQUEST_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["files"],
                "properties": {"files": {"type": "array", "items": {"type": "string", "format": "binary"}}},
            }
        },
        "image/*": {"schema": {"type": "string", "format": "binary"}},
        "application/json": {"schema": {"$ref": "#/components/schemas/ImagesRequest"}},
    },
}


@router.post(
    "/v1/images/score",
    response_model=ScoreResponse,
    responses=problems(400, 401, 403, 404, 413, 415, 422, 429, 500, 503, 504),
    openapi_extra={"requestBody": REQUEST_BODY},
)
async def score_images(
    request: Request,
    scorer: ScorerDep,
    settings: SettingsDep,
    query: Annotated[ScoreQuery, Query()],
) -> Response:
    """Predict each image, with calibrated confidence and uncertainty scores.

    Send files as multipart form data, one image as the raw body, or base64 in JSON. An image that cannot be scored has
    an `error` in its place; when none can be scored, the response itself is the error.

    A score that is asked for in its exact form is first computed fast for every image, then exactly for one after the
    other, most doubtful first, while the budget lasts; `form` says what each image got.
    """
    scorer.batcher.check_room()
    found = await read_images(request, settings.max_items)
    options = found.options.or_query(_options(query))
    scored = await _unless_gone(
        request,
        scorer.score(
            found.images,
            model=options.model,
            scores=options.scores,
            top_k=options.top_k or DEFAULT_TOP_K,
            exact_top=options.exact_top,
            budget_ms=options.budget_ms,
            timings=request.scope["timings"],
        ),
    )
    body = _response(found.images, scored)
    # A percentile may be null; what an item or a problem does not have was never set.
    return Response(body.model_dump_json(exclude_unset=True), media_type="application/json")


def _options(query: ScoreQuery) -> Options:
    return Options(query.model, _split(query.scores), query.top_k, query.exact_top, query.budget_ms)


def _split(scores: list[str] | None) -> tuple[str, ...] | None:
    if scores is None:
        return None
    return tuple(name.strip() for entry in scores for name in entry.split(",") if name.strip())


async def _unless_gone(request: Request, work: Coroutine[Any, Any, Answer]) -> Answer:
    """The result of `work`; it is cancelled, and ClientGoneError raised, once the client has closed the connection."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGoneError("the client closed the connection before its answer was there")
        return task.result()
    finally:
        gone.cancel()
        task.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _response(images: Sequence[ImageInput], scored: Scored) -> ScoreResponse:
    failed = [outcome for outcome in scored.outcomes if isinstance(outcome, HowsureError)]
    if len(failed) == len(images):
        raise _only_failures(images, failed)
    return ScoreResponse(
        object="list",
        model=scored.predictor.model,
        version=scored.predictor.version,
        data=[
            _failed_item(image, outcome)
            if isinstance(outcome, HowsureError)
            else _scored_item(image, outcome, scored.predictor.manifest.classes)
            for image, outcome in zip(images, scored.outcomes, strict=True)
        ],
        usage=ScoreUsage(items=len(images), scored=len(images) - len(failed), failed=len(failed)),
    )


def _scored_item(image: ImageInput, prediction: Prediction, classes: Sequence[str]) -> ScoredItem:
    return ScoredItem(
        id=f"pred_{uuid.uuid4().hex}",
        input=image.name or "",
        label=classes[prediction.class_index],
        class_index=prediction.class_index,
        confidence=_digits(prediction.confidence),
        raw_confidence=_digits(prediction.raw_confidence),
        top=[
            TopEntry(label=classes[index], class_index=index, probability=_digits(probability))
            for index, probability in prediction.top
        ],
        uncertainty={name: _uncertainty(score) for name, score in prediction.uncertainty.items()},
    )


def _uncertainty(score: ScoreValue) -> UncertaintyValue:
    percentile = None if score.percentile is None else _digits(score.percentile)
    known = {name: value for name in ("form", "note") if (value := getattr(score, name)) is not None}
    return UncertaintyValue(value=_digits(score.value), percentile=percentile, kind=score.kind, **known)


def _failed_item(image: ImageInput, error: HowsureError) -> FailedItem:
    return FailedItem(input=image.name or "", error=Problem(**error.problem()))


def _only_failures(images: Sequence[ImageInput], failed: Sequence[HowsureError]) -> HowsureError:
    if len(failed) == 1:
        return failed[0]
    errors = [{"input": image.name, **error.problem()} for image, error in zip(images, failed, strict=True)]
    return NoneScoredError(f"none of the {len(failed)} images could be scored", failed, errors)


def _digits(value: float) -> float:
    """Seven significant digits: what a float32 holds."""
    return float(f"{value:.7g}")
