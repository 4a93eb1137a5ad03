"""Request and response bodies of `POST /v1/prompts/score`."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from app.api.openai.added import ConsistencyOfAnswers, Uncertainty
from app.api.openai.fields import EQUAL_SEEDS, LARGEST_SEED
from app.api.schemas import MOST_ITEMS, FailedItem, ScoredItem, Scores, ScoreUsage
from models.core.prompt_spec import Readout

CHOICES = (
    "2 to 64 different texts; one of them follows the prompt, and begins with a space where that needs one. Those of a"
    " `question` stand alone. Left out: the model answers freely"
)
QUESTION = "A question whose choices the server writes below it with letters, as in MMLU; it reads the letters"
SUBJECT = (
    'Of a question: "The following are multiple choice questions (with answers) about …" is written before it, and'
    " after `prefix`. Left out: nothing is"
)
TASK = (
    "Which task it is of, for a version that was calibrated by task; one that it does not know is refused. Left out:"
    " the one that `subject` names, else any other"
)
READOUT = (
    "Where the probability of a choice is read. `next_token`: of its one token where the prompt ends. `text`: summed"
    " over its tokens; `text_length`: divided by how many they are; `text_unconditional`: less that of the choice after"
    " `Answer:` alone. Left out: the way that the version was calibrated for, or `text` for an item whose choices are"
    " not one token each"
)
SORT = (
    "A score that is computed, by name: the most uncertain prompts come first by it, failed ones last; left out: the"
    " order of the inputs"
)
SLICE = (
    "true: the prompts with choices are one slice of like prompts, whose own calibration curve is read from them"
    " without labels, for a version with a few-shot recalibrator; each item gets `slice_confidence`, and nothing else"
    " of it changes"
)
MOST_SAMPLES = 20  # Ours
StopText = Annotated[str, Field(min_length=1, max_length=1000)]
EXAMPLE: JsonDict = {
    "prompts": [
        {"id": "sky", "prompt": "The colour of the sky is", "choices": [" blue", " green"]},
        {"id": "bees", "question": "What do bees make?", "choices": ["honey", "glass", "iron"]},
        {"id": "free", "prompt": "The capital of France is"},
    ],
    "max_tokens": 4,
}
OF_CHOICES = ("scores", "top_k", "readout", "slice")
OF_ANSWERS = ("max_tokens", "stop", "samples")
OF_SAMPLES = ("temperature", "seed")


class PromptMessage(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(extra="forbid")

    role: str = Field(min_length=1, max_length=64, description="As the model's chat template knows it, such as `user`")
    content: str


class PromptItem(BaseModel):
    """One prompt: exactly one of `prompt`, `messages` and `question`, with choices or to be answered freely."""

    model_config = ConfigDict(extra="forbid")

    id: str | None = Field(None, max_length=256, description="Comes back as `input`")
    prompt: str | None = Field(None, description="The text that the choices follow, as it is")
    messages: list[PromptMessage] | None = Field(
        None,
        min_length=1,
        max_length=MOST_ITEMS,
        description="A conversation, by the model's chat template; the choices are its next message",
    )
    question: str | None = Field(None, description=QUESTION)
    choices: list[str] | None = Field(None, max_length=MOST_ITEMS, description=CHOICES)
    subject: str | None = Field(None, min_length=1, max_length=200, description=SUBJECT)
    task: str | None = Field(None, max_length=256, description=TASK)

    @model_validator(mode="after")
    def _check_content(self) -> Self:
        given = [name for name in ("prompt", "messages", "question") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of prompt, messages and question, not {' and '.join(given) or 'none of them'}")
        if self.choices is None and self.question is not None:
            raise ValueError("a question needs its choices; what is to be answered freely is a prompt")
        if self.question is None and self.subject is not None:
            raise ValueError("subject is for questions; leave it out, or write it into the prompt")
        if self.choices is None and self.task is not None:
            raise ValueError("task is for prompts with choices; leave it out")
        return self


class PromptsRequest(BaseModel):
    """A request to score prompts."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})

    prompts: list[PromptItem] = Field(min_length=1, max_length=MOST_ITEMS)
    prefix: str = Field("", description="Put before every prompt and question, such as solved examples")
    model: str | None = Field(None, description="Which model; may be left out when one language model is served")
    scores: Scores | None = Field(None, description="Scores to compute; left out: all that the version has")
    top_k: int | None = Field(None, ge=1, le=64, strict=True, description="Choices in `top`, 5 if not said")
    readout: Readout | None = Field(None, description=READOUT)
    sort: str | None = Field(None, description=SORT)
    slice: bool | None = Field(None, strict=True, description=SLICE)
    max_tokens: int | None = Field(
        None, ge=1, strict=True, description="Longest free answer, 64 if not said; cut to what the context has room for"
    )
    stop: list[StopText] | None = Field(None, max_length=4, description="A free answer ends before the first of these")
    samples: int | None = Field(
        None, ge=2, le=MOST_SAMPLES, strict=True, description="Free answers drawn beside the greedy one, to be compared"
    )
    temperature: float | None = Field(None, gt=0, le=2, strict=True, description="Of the samples, 1 if not said")
    seed: int | None = Field(None, ge=-LARGEST_SEED - 1, le=LARGEST_SEED, strict=True, description=EQUAL_SEEDS)

    @model_validator(mode="after")
    def _check_prefix(self) -> Self:
        if self.prefix and any(item.messages is not None for item in self.prompts):
            raise ValueError("a prefix goes before texts; put it into the first message of a conversation instead")
        return self

    @model_validator(mode="after")
    def _check_kinds(self) -> Self:
        """An option that no prompt of the request could use is refused, not passed over."""
        free = [item.choices is None for item in self.prompts]
        self._refuse(OF_CHOICES, all(free), "is for prompts with choices, and none has any")
        self._refuse(("sort",), any(free), "is for prompts with choices, and not every one has some")
        self._refuse(OF_ANSWERS, not any(free), "is for prompts without choices, and every one has some")
        self._refuse(OF_SAMPLES, self.samples is None, "is for samples, and none are asked for")
        return self

    def _refuse(self, names: tuple[str, ...], when: bool, reason: str) -> None:
        for name in names:
            if when and getattr(self, name) is not None:
                raise ValueError(f"{name} {reason}; leave it out")


class ScoredPromptItem(ScoredItem):
    """The answer for one prompt: `label` is the text of a choice, `class_index` its place."""

    readout: Readout = Field(description="How the choices of this prompt were read")
    calibrated: bool = Field(
        description="false: the version has no calibrator for this readout, `confidence` is the model's own"
    )
    slice_confidence: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Where `slice` is asked for, and the item is part of it: its chance of being right by the curve",
    )


class PromptSlice(BaseModel):
    """The scored prompts with choices of a request, read in the way the version was fitted for, taken together."""

    items: int = Field(description="How many the curve was read from, without labels")
    curve: list[float] = Field(
        min_length=10, max_length=10, description="Chance of being right at confidences 0, 1/9, …, 1, never falling"
    )
    mean_confidence: float = Field(
        ge=0, le=1, description="Mean of `slice_confidence`: the share of the slice that is expected to be right"
    )


class AnswerToken(BaseModel):
    """A token of a free answer."""

    text: str = Field(description="What it adds to the answer: nothing where it ends within a character")
    confidence: float = Field(
        ge=0, le=1, description="Its probability: how often such a token is that of a reference answer, if `calibrated`"
    )


class AnsweredPromptItem(BaseModel):
    """The free answer to one prompt: the most probable token each time."""

    id: str
    input: str
    text: str
    finish: Literal["stop", "length"] = Field(description="length: cut at `max_tokens` or the end of the context")
    confidence: float | None = Field(
        description="Geometric mean of the tokens' confidences; null for an answer without tokens"
    )
    calibrated: bool = Field(description="false: the version has no temperature for tokens, all confidences are raw")
    tokens: list[AnswerToken]
    uncertainty: Uncertainty
    samples: list[str] | None = Field(None, description="The drawn answers, where asked for")
    consistency: ConsistencyOfAnswers | None = Field(None, description="How far the samples agree")


class PromptUsage(ScoreUsage):
    """How many prompts came, what became of them, and their tokens."""

    tokens: int = Field(description="Of the scored prompts, choices and answers, as if each prompt had come alone")


class PromptsResponse(BaseModel):
    """Answers in the order of the inputs, or of `sort`, all by one version."""

    object: Literal["list"] = "list"
    model: str
    version: int
    readout: Readout | None = Field(description="How choices were read; null where there are none, or several ways")
    data: list[ScoredPromptItem | AnsweredPromptItem | FailedItem]
    slice: PromptSlice | None = Field(None, description="Where it was asked for")
    usage: PromptUsage
