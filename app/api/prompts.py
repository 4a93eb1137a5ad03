"""`POST /v1/prompts/score`: read the prompts, have those with choices scored and the others answered."""

from collections.abc import Sequence

from fastapi import APIRouter, Depends, Request, Response

from app.api.body import read_json
from app.api.deps import CatalogDep, PromptAnswererDep, PromptScorerDep, SettingsDep, problems, require
from app.api.hang_up import unless_gone
from app.api.prompt_replies import Outcome, Outcomes, prompts_response
from app.api.prompt_schemas import PromptItem, PromptsRequest, PromptsResponse
from app.errors import PayloadTooLargeError
from app.keys import Scope
from app.scoring.prompt_answering import AnswersAsked, PromptAnswerer
from app.scoring.prompt_intake import PromptInput
from app.scoring.prompt_predictor import PromptPredictor
from app.scoring.prompt_scorer import PromptScorer

router = APIRouter(tags=["score"], dependencies=[Depends(require(Scope.SCORE))])

BODY = {"application/json": {"schema": {"$ref": f"#/components/schemas/{PromptsRequest.__name__}"}}}
DEFAULT_TOP_K, DEFAULT_TOKENS = 5, 64


@router.post(
    "/v1/prompts/score",
    response_model=PromptsResponse,
    responses=problems(400, 401, 403, 404, 413, 415, 422, 429, 500, 503, 504),
    openapi_extra={"requestBody": {"required": True, "content": BODY}},
)
async def score_prompts(
    request: Request,
    catalog: CatalogDep,
    scorer: PromptScorerDep,
    answerer: PromptAnswererDep,
    settings: SettingsDep,
) -> Response:
    """Say which choice follows each prompt, with calibrated confidence and uncertainty scores.

    A prompt without choices is answered freely, with the model's own probability of each token; `samples` are drawn
    beside the answer to see how far the model agrees with itself.

    A `question` with a `subject` has MMLU's first line before it, as in a job on rows that have one.

    What prompts with choices have in common, such as a `prefix` of solved examples, is computed once. A prompt that
    cannot be scored has an `error` in its place; when none can be scored, the response itself is the error.

    With `slice` the prompts with choices are taken together as well, for how often the model is right on such ones.
    """
    asked = await read_json(request, PromptsRequest)
    if len(asked.prompts) > settings.max_items:
        raise PayloadTooLargeError(f"{len(asked.prompts)} prompts, at most {settings.max_items} in a request")
    _check_room(asked, scorer, answerer)
    predictor = catalog.get_for_prompts(asked.model)
    prompts = [_input(item, place, asked.prefix) for place, item in enumerate(asked.prompts)]
    timings = request.scope["timings"]
    found = await unless_gone(request, _outcomes(predictor, prompts, asked, scorer, answerer, timings))
    body = prompts_response(predictor, prompts, found)
    # A percentile may be null; what an item or a problem does not have was never set.
    return Response(body.model_dump_json(exclude_unset=True), media_type="application/json")


def _input(item: PromptItem, place: int, prefix: str) -> PromptInput:
    messages = tuple(message.model_dump() for message in item.messages or ())
    return PromptInput(
        name=item.id or f"prompt-{place}",
        content=messages or item.prompt or item.question or "",
        choices=tuple(item.choices or ()),
        lettered=item.question is not None,
        prefix=prefix,
        task=item.task or item.subject,  # as a row of a dataset
        subject=item.subject,
    )


def _check_room(asked: PromptsRequest, scorer: PromptScorer, answerer: PromptAnswerer) -> None:
    """Of both queues, before anything waits in one of them. Raises a HowsureError."""
    free = sum(item.choices is None for item in asked.prompts)
    if free:
        answerer.check_room(free, _answers(asked))
    if rest := len(asked.prompts) - free:
        scorer.batcher.check_room(rest)


async def _outcomes(
    predictor: PromptPredictor,
    prompts: Sequence[PromptInput],
    asked: PromptsRequest,
    scorer: PromptScorer,
    answerer: PromptAnswerer,
    timings: dict[str, float],
) -> Outcomes:
    free = [row for row, item in enumerate(asked.prompts) if item.choices is None]
    rest = [row for row, item in enumerate(asked.prompts) if item.choices is not None]
    found: dict[int, Outcome] = {}
    order: Sequence[int] = range(len(prompts))
    whole = None
    if rest:
        scored = await scorer.score(
            predictor,
            [prompts[row] for row in rest],
            scores=asked.scores,
            top_k=asked.top_k or DEFAULT_TOP_K,
            readout=asked.readout,
            sort=asked.sort,
            as_slice=bool(asked.slice),
            timings=timings,
        )
        found |= zip(rest, scored.outcomes, strict=True)
        order, whole = order if free else scored.order, scored.slice
    if free:
        answered = await answerer.answer(predictor, [prompts[row] for row in free], _answers(asked), timings)
        found |= zip(free, answered, strict=True)
    return Outcomes([found[row] for row in range(len(prompts))], order, whole)


def _answers(asked: PromptsRequest) -> AnswersAsked:
    return AnswersAsked(
        max_tokens=asked.max_tokens or DEFAULT_TOKENS,
        stops=tuple(asked.stop or ()),
        samples=asked.samples or 0,
        temperature=asked.temperature or 1.0,
        seed=asked.seed,
    )
