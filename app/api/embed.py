"""`POST /v1/images/embed`: embeddings for a search index, each with the uncertainty that says whether to trust it."""

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response
from numpy.typing import NDArray

from app.api.body import read_images, request_body
from app.api.deps import ScorerDep, SettingsDep, problems, require
from app.api.embed_schemas import EmbeddedItem, EmbedQuery, EmbedRequest, EmbedResponse, Encoding
from app.api.hang_up import unless_gone
from app.api.outcomes import count_outcomes, failed_item, uncertainty
from app.api.schemas import FailedItem
from app.errors import HowsureError, InvalidError
from app.keys import Scope
from app.scoring.intake import ImageInput
from app.scoring.predictor import Prediction
from app.scoring.refine import Outcome
from app.scoring.scorer import Scored

router = APIRouter(tags=["score"], dependencies=[Depends(require(Scope.SCORE))])

Vector = NDArray[np.float32]


@router.post(
    "/v1/images/embed",
    response_model=EmbedResponse,
    responses=problems(400, 401, 403, 404, 413, 415, 422, 429, 500, 503, 504),
    openapi_extra={"requestBody": request_body(EmbedRequest)},
)
async def embed_images(
    request: Request,
    scorer: ScorerDep,
    settings: SettingsDep,
    query: Annotated[EmbedQuery, Query()],
) -> Response:
    """Embed each image for a search by similarity, with uncertainty scores: leave out what is too uncertain.

    An embedding is the input of the network's last linear layer. Send images as to `/v1/images/score`. An image that
    cannot be embedded has an `error` in its place; when none can be, the response itself is the error.
    """
    scorer.batcher.check_room()
    found = await read_images(request, settings.max_items, EmbedRequest)
    options = found.options(query)
    scored = await unless_gone(
        request,
        scorer.score(
            found.images,
            model=options.model,
            scores=options.scores,
            top_k=1,
            embed=True,
            timings=request.scope["timings"],
        ),
    )
    # Many numbers: writing them would keep the event loop from other requests.
    content = await asyncio.to_thread(_content, found.images, scored, options)
    return Response(content, media_type="application/json")


def _content(images: Sequence[ImageInput], scored: Scored, options: EmbedQuery) -> str:
    outcomes = [_normalized(each) if options.normalize else each for each in scored.outcomes]
    usage = count_outcomes(images, outcomes)
    predictor = scored.predictor
    body = EmbedResponse(
        object="list",
        model=predictor.model,
        version=predictor.version,
        dimensions=predictor.pipeline.network.dimensions.features,
        data=[_item(index, image, outcomes[index], options) for index, image in enumerate(images)],
        usage=usage,
    )
    # A percentile may be null; what an item or a problem does not have was never set.
    return body.model_dump_json(exclude_unset=True)


def _normalized(outcome: Outcome) -> Outcome:
    if isinstance(outcome, HowsureError):
        return outcome
    vector = _vector(outcome)
    length = np.linalg.norm(vector.astype(np.float64))
    if length == 0:
        return InvalidError("the embedding is all zeros, which has no direction; ask for it without normalize")
    return replace(outcome, embedding=(vector / length).astype(np.float32))


def _vector(prediction: Prediction) -> Vector:
    if prediction.embedding is None:
        raise TypeError("a prediction of a request to embed came without its embedding")
    return prediction.embedding


def _item(index: int, image: ImageInput, outcome: Outcome, options: EmbedQuery) -> EmbeddedItem | FailedItem:
    if isinstance(outcome, HowsureError):
        return failed_item(image, outcome)
    return EmbeddedItem(
        object="embedding",
        index=index,
        input=image.name or "",
        embedding=_encoded(_vector(outcome), options.encoding_format),
        uncertainty=uncertainty(outcome),
    )


def _encoded(vector: Vector, encoding: Encoding | None) -> list[float] | str:
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    numbers: list[float] = vector.tolist()
    return numbers
