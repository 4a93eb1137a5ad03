"""`POST /v1/chat/completions` and `POST /v1/completions`, as OpenAI has them."""

from collections.abc import Sequence

from fastapi import APIRouter, Depends, Request, Response

from app.api.body import read_json
from app.api.deps import CatalogDep, GenerationDep, SettingsDep, require
from app.api.openai.answering import ask, check_answers, check_characters, whole_answers
from app.api.openai.chat_reply import ChatChunks, ChatCompletion, chat_completion
from app.api.openai.chat_request import ChatMessage, ChatRequest, ResponseFormat
from app.api.openai.completion_reply import Completion, CompletionChunks, completion
from app.api.openai.completion_request import DEFAULT_TOKENS, CompletionRequest
from app.api.openai.described import described
from app.api.openai.events import EventStream
from app.api.openai.fields import StreamOptions
from app.keys import Scope
from models.language.causal_lm import CausalLM

router = APIRouter(tags=["openai"], dependencies=[Depends(require(Scope.SCORE))])

BODIES = (ChatRequest, ChatMessage, CompletionRequest, ResponseFormat, StreamOptions)


@router.post("/v1/chat/completions", response_model=ChatCompletion, **described(ChatRequest))
async def create_chat_completion(
    request: Request, catalog: CatalogDep, generation: GenerationDep, settings: SettingsDep
) -> Response:
    """Answer a conversation, with what the model's own probabilities say of how sure it was.

    Fields are OpenAI's; one that is not supported is refused, never ignored. Errors have OpenAI's form.
    """
    generation.check_room()
    body = await read_json(request, ChatRequest)
    check_answers(settings, body.answers)
    check_characters(settings, [part for message in body.conversation for part in message.values()])
    sampling = body.sampling(settings, body.max_tokens or body.max_completion_tokens, body.top_logprobs or 0)

    def read(language: CausalLM) -> Sequence[Sequence[int]]:
        text = language.chat(body.conversation)
        check_characters(settings, [text])  # again: the template writes something around every message
        return [language.encode(text)]

    predictor = catalog.get_for_prompts(body.model)
    asked = await ask(generation, settings, predictor, read, sampling, body.answers, "chatcmpl")
    logprobs = bool(body.logprobs)
    if body.stream:
        return EventStream(asked.stream, ChatChunks(asked, logprobs, body.with_usage))
    whole = chat_completion(asked, await whole_answers(request, asked), logprobs)
    return Response(whole.model_dump_json(), media_type="application/json")


@router.post("/v1/completions", response_model=Completion, **described(CompletionRequest))
async def create_completion(
    request: Request, catalog: CatalogDep, generation: GenerationDep, settings: SettingsDep
) -> Response:
    """Go on with texts, with what the model's own probabilities say of how sure it was.

    Fields are OpenAI's; one that is not supported is refused, never ignored. Errors have OpenAI's form.
    """
    generation.check_room()
    body = await read_json(request, CompletionRequest)
    check_answers(settings, body.answers * len(body.prompt))
    check_characters(settings, body.prompt)
    sampling = body.sampling(settings, body.max_tokens or DEFAULT_TOKENS, body.logprobs or 0)

    def read(language: CausalLM) -> Sequence[Sequence[int]]:
        return [language.encode(prompt) if isinstance(prompt, str) else prompt for prompt in body.prompt]

    predictor = catalog.get_for_prompts(body.model)
    asked = await ask(generation, settings, predictor, read, sampling, body.answers, "cmpl")
    logprobs = body.logprobs is not None
    if body.stream:
        return EventStream(asked.stream, CompletionChunks(asked, logprobs, body.with_usage))
    whole = completion(asked, await whole_answers(request, asked), logprobs)
    return Response(whole.model_dump_json(), media_type="application/json")
