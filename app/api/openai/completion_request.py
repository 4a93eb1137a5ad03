"""The body of `POST /v1/completions`."""

from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.config import JsonDict

from app.api.openai.fields import NOT, GenerationBody, Unsupported, only
from app.api.schemas import MOST_ITEMS

DEFAULT_TOKENS = 16  # OpenAI's own
EXAMPLE: JsonDict = {"model": "smollm2-135m", "prompt": "The capital of France is", "max_tokens": 8, "logprobs": 2}
TOKENS = {"type": "array", "items": {"type": "integer", "minimum": 0}}
PROMPT_SCHEMA = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}},
        TOKENS,
        {"type": "array", "items": TOKENS},
    ]
}


def _several(value: object) -> tuple[object, ...]:
    """One text or one list of tokens is the only prompt; the fields below could not tell which form was meant."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and len(value) > MOST_ITEMS and not _are_tokens(value):
        raise ValueError(f"{len(value)} prompts, at most {MOST_ITEMS} are read")
    if isinstance(value, list) and value:
        if all(isinstance(each, str) for each in value):
            return tuple(value)
        if _are_tokens(value):
            return (tuple(value),)
        if all(isinstance(each, list) and _are_tokens(each) for each in value):
            return tuple(tuple(each) for each in value)
    raise ValueError("a prompt is a text, a list of texts, a list of tokens, or a list of lists of tokens; none empty")


def _are_tokens(value: list[Any]) -> bool:
    return bool(value) and all(type(each) is int and each >= 0 for each in value)


class CompletionRequest(GenerationBody):
    """Texts to go on with."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    prompt: Annotated[tuple[str | tuple[int, ...], ...], BeforeValidator(_several), WithJsonSchema(PROMPT_SCHEMA)] = (
        Field(description="As they are, without a chat template; each gets `n` answers, in order")
    )
    logprobs: int | None = Field(
        None,
        ge=0,
        le=5,
        description="Log-probabilities of the tokens and of so many likeliest ones",
    )
    best_of: Annotated[Any, only(1)] = Field(None, description=NOT)
    echo: Annotated[Any, only(False)] = Field(None, description=NOT)
    suffix: Unsupported = Field(None, description=NOT)
