"""`POST /v1/images/score`: read the images, call the scorer, shape the answer."""

import asyncio
import uuid
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from app.api.body import read_images, request_body
from app.api.deps import ScorerDep, SettingsDep, problems, require
from app.api.hang_up import unless_gone
from app.api.outcomes import count_outcomes, digits, failed_item, uncertainty
from app.api.schemas import FailedItem, ImagesRequest, ScoredItem, ScoreQuery, ScoreResponse, TopEntry
from app.errors import HowsureError
from app.keys import Scope
from app.scoring.intake import ImageInput
from app.scoring.predictor import Prediction
from app.scoring.scorer import Scored
from models.core.manifest import Manifest

router = APIRouter(tags=["score"], dependencies=[Depends(require(Scope.SCORE))])

DEFAULT_TOP_K = 5


@router.post(
    "/v1/images/score",
    response_model=ScoreResponse,
    responses=problems(400, 401, 403, 404, 413, 415, 422, 429, 500, 503, 504),
    openapi_extra={"requestBody": request_body(ImagesRequest)},
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
    found = await read_images(request, settings.max_items, ImagesRequest)
    options = found.options(query)
    scored = await unless_gone(
        request,
        scorer.score(
            found.images,
            model=options.model,
            scores=options.scores,
            top_k=options.top_k or DEFAULT_TOP_K,
            exact_top=options.exact_top,
            budget_ms=options.budget_ms,
            sort=options.sort,
            timings=request.scope["timings"],
        ),
    )
    # In a thread: many images with many classes are long to write.
    return Response(await asyncio.to_thread(_json, found.images, scored), media_type="application/json")


def _json(images: Sequence[ImageInput], scored: Scored) -> str:
    # A percentile may be null; what an item or a problem does not have was never set.
    return _response(images, scored).model_dump_json(exclude_unset=True)


def _response(images: Sequence[ImageInput], scored: Scored) -> ScoreResponse:
    usage = count_outcomes(images, scored.outcomes)
    predictor = scored.predictor
    items = [_item(images[row], scored.outcomes[row], predictor.manifest) for row in scored.order]
    return ScoreResponse(object="list", model=predictor.model, version=predictor.version, data=items, usage=usage)


def _item(image: ImageInput, outcome: Prediction | HowsureError, manifest: Manifest) -> ScoredItem | FailedItem:
    if isinstance(outcome, HowsureError):
        return failed_item(image, outcome)
    return ScoredItem(
        id=f"pred_{uuid.uuid4().hex}",
        input=image.name or "",
        label=manifest.classes[outcome.class_index],
        class_index=outcome.class_index,
        confidence=digits(outcome.confidence),
        raw_confidence=digits(outcome.raw_confidence),
        calibrated=manifest.calibrator is not None,
        top=[
            TopEntry(label=manifest.classes[index], class_index=index, probability=digits(probability))
            for index, probability in outcome.top
        ],
        uncertainty=uncertainty(outcome),
    )
