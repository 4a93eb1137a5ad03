"""What a request for chat and one for a completion have in common. Nothing that is sent is ignored but `user`."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from app.settings import Settings
from models.language.generation.sampling import MOST_STOPS, Sampling

LARGEST_SEED = 2**63 - 1
MOST_ANSWERS = 128
STOP_SCHEMA = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "maxItems": MOST_STOPS}]}


def only(*neutral: object) -> AfterValidator:
    """Of a field of OpenAI's that is not supported: null and the values that change nothing are let pass."""

    def check(value: object) -> object:
        if value is not None and value not in neutral:
            raise ValueError("this is not supported by howsure; leave it out")
        return value

    return AfterValidator(check)


def _one_or_several(value: object) -> object:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


Stops = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=1000)], ...],
    Field(max_length=MOST_STOPS),
    BeforeValidator(_one_or_several),
    WithJsonSchema(STOP_SCHEMA),
]
EQUAL_SEEDS = "Equal seeds give equal answers in float32; in bfloat16 up to rounding, which the company may change"
Unsupported = Annotated[Any, only()]
NOT = "Not supported"


class StreamOptions(BaseModel):
    """What a stream tells beside the answer."""

    model_config = ConfigDict(extra="forbid", strict=True)

    include_usage: bool | None = Field(None, description="A last chunk without choices has the usage")


class GenerationBody(BaseModel):
    """The fields of both routes."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    model: str = Field(min_length=1, max_length=100, description="A language model, by name")
    max_tokens: int | None = Field(None, ge=1, description="Cut to what the context leaves room for")
    temperature: float | None = Field(None, ge=0, le=2, description="0: always the most probable token; 1 if not said")
    top_p: float | None = Field(None, ge=0, le=1, description="Only of the likeliest tokens with so much probability")
    n: int | None = Field(None, ge=1, le=MOST_ANSWERS, description="Answers a prompt; it is read once for all of them")
    seed: int | None = Field(None, ge=-LARGEST_SEED - 1, le=LARGEST_SEED, description=EQUAL_SEEDS)
    stop: Stops | None = Field(None, description="An answer ends before the first of these")
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = Field(None, description="Has no effect on the answer")
    frequency_penalty: Annotated[Any, only(0)] = Field(None, description=NOT)
    presence_penalty: Annotated[Any, only(0)] = Field(None, description=NOT)
    logit_bias: Annotated[Any, only({})] = Field(None, description=NOT)

    @model_validator(mode="after")
    def _check_stream(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options is only for stream: true")
        return self

    @property
    def answers(self) -> int:
        return self.n or 1

    @property
    def with_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def sampling(self, settings: Settings, max_tokens: int | None, alternatives: int) -> Sampling:
        return Sampling(
            max_tokens=max_tokens or settings.answer_tokens,
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            seed=self.seed,
            stops=self.stop or (),
            alternatives=alternatives,
        )


def texts_of_parts(value: object) -> object:
    """A message's content as one text; its parts stand on lines of their own."""
    if not isinstance(value, list):
        return value
    return "\n".join(_text(part, place) for place, part in enumerate(value))


def _text(part: object, place: int) -> str:
    if isinstance(part, dict) and part.keys() == {"type", "text"} and part["type"] == "text":
        text = part["text"]
        if isinstance(text, str):
            return text
    raise ValueError(f'part {place} is not {{"type": "text", "text": "…"}}, the only kind that is supported')
