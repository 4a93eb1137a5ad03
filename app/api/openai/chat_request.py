"""The body of `POST /v1/chat/completions`."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic.config import JsonDict

from app.api.openai.fields import NOT, GenerationBody, Unsupported, only, texts_of_parts
from app.api.schemas import MOST_ITEMS
from models.language.generation.sampling import MOST_ALTERNATIVES

PART = {
    "type": "object",
    "required": ["type", "text"],
    "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
    "additionalProperties": False,
}
Content = Annotated[
    str,
    BeforeValidator(texts_of_parts),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": PART}]}),
]
EXAMPLE: JsonDict = {
    "model": "smollm2-135m",
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
    "max_tokens": 16,
    "logprobs": True,
}


class ChatMessage(BaseModel):
    """One message of a conversation; an answer of this service may be sent back as it came."""

    model_config = ConfigDict(extra="forbid", strict=True)

    role: Literal["system", "developer", "user", "assistant"] = Field(description="`developer` is another `system`")
    content: Content = Field(description="A text, or parts of text, each on a line of its own")
    name: Unsupported = Field(None, description=NOT)
    refusal: Unsupported = Field(None, description=NOT)
    audio: Unsupported = Field(None, description=NOT)
    annotations: Annotated[Any, only([])] = Field(None, description=NOT)
    function_call: Unsupported = Field(None, description=NOT)
    tool_calls: Annotated[Any, only([])] = Field(None, description=NOT)

    def for_template(self) -> dict[str, str]:
        return {"role": "system" if self.role == "developer" else self.role, "content": self.content}


class ResponseFormat(BaseModel):
    """Free text."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["text"]


class ChatRequest(GenerationBody):
    """A conversation to go on with."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    messages: list[ChatMessage] = Field(min_length=1, max_length=MOST_ITEMS, description="By the model's chat template")
    max_completion_tokens: int | None = Field(None, ge=1, description="Another name of max_tokens")
    logprobs: bool | None = Field(None, description="Log-probabilities of the tokens, before temperature and top_p")
    top_logprobs: int | None = Field(None, ge=0, le=MOST_ALTERNATIVES, description="Needs logprobs")
    response_format: ResponseFormat | None = None
    audio: Unsupported = Field(None, description=NOT)
    function_call: Annotated[Any, only("none")] = Field(None, description=NOT)
    functions: Annotated[Any, only([])] = Field(None, description=NOT)
    metadata: Annotated[Any, only({})] = Field(None, description=NOT)
    modalities: Annotated[Any, only(["text"])] = Field(None, description=NOT)
    parallel_tool_calls: Unsupported = Field(None, description=NOT)
    prediction: Unsupported = Field(None, description=NOT)
    reasoning_effort: Annotated[Any, only("none")] = Field(None, description=NOT)
    service_tier: Annotated[Any, only("auto", "default")] = Field(None, description=NOT)
    store: Annotated[Any, only(False)] = Field(None, description=NOT)
    tool_choice: Annotated[Any, only("none")] = Field(None, description=NOT)
    tools: Annotated[Any, only([])] = Field(None, description=NOT)
    web_search_options: Unsupported = Field(None, description=NOT)

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true")
        if None not in (self.max_tokens, self.max_completion_tokens) and self.max_tokens != self.max_completion_tokens:
            raise ValueError("max_tokens and max_completion_tokens are the same thing; send one of them")
        return self

    @property
    def conversation(self) -> Sequence[dict[str, str]]:
        return [message.for_template() for message in self.messages]
