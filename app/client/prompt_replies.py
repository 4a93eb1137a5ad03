"""What `POST /v1/prompts/score` answers, as typed values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.client.replies import Problem, TopClass, Uncertainty, parse_problem, parse_uncertainty, pick


@dataclass(frozen=True, slots=True)
class ScoredPrompt:
    """A prediction: `label` is the text of a choice, `class_index` its place, `confidence` its calibrated probability.

    `readout` says how the choices were read; where `calibrated` is False the version has no calibrator for that, and
    `confidence` is the model's own. `slice_confidence` is its chance of being right as one of a slice, where asked for.
    """

    id: str
    input: str
    label: str
    class_index: int
    confidence: float
    raw_confidence: float
    top: tuple[TopClass, ...]
    uncertainty: Mapping[str, Uncertainty]
    readout: str
    calibrated: bool
    slice_confidence: float | None = None


@dataclass(frozen=True, slots=True)
class PromptSlice:
    """The prompts of a request taken together: `items` of them gave the `curve`, the chances of being right at
    confidences 0, 1/9, ..., 1; `mean_confidence` is the share that is expected to be right."""

    items: int
    curve: tuple[float, ...]
    mean_confidence: float


@dataclass(frozen=True, slots=True)
class AnswerToken:
    """A token of a free answer, and its probability."""

    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class AnsweredPrompt:
    """The free answer to a prompt without choices; `confidence` is the geometric mean of its tokens' confidences.

    They are the model's own where the answer is not `calibrated`.
    `finish` is stop or length. `uncertainty` has numbers by name. `samples` are answers drawn beside it, where asked
    for, and `consistency` says how far they agree.
    """

    id: str
    input: str
    text: str
    finish: str
    confidence: float | None
    calibrated: bool
    tokens: tuple[AnswerToken, ...]
    uncertainty: Mapping[str, float | None]
    samples: tuple[str, ...] = ()
    consistency: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FailedPrompt:
    """A prompt that could not be scored."""

    input: str
    error: Problem


@dataclass(frozen=True, slots=True)
class PromptsReply:
    """One item a prompt, in the order they were sent or were to be sorted in, all by one version.

    `readout` is None where not all were read in one way, `slice` where it was not asked for.
    """

    model: str
    version: int
    readout: str | None
    items: tuple[ScoredPrompt | AnsweredPrompt | FailedPrompt, ...]
    raw: Mapping[str, Any] = field(repr=False)
    slice: PromptSlice | None = None

    @property
    def scored(self) -> tuple[ScoredPrompt, ...]:
        return tuple(item for item in self.items if isinstance(item, ScoredPrompt))

    @property
    def answered(self) -> tuple[AnsweredPrompt, ...]:
        return tuple(item for item in self.items if isinstance(item, AnsweredPrompt))

    @property
    def failed(self) -> tuple[FailedPrompt, ...]:
        return tuple(item for item in self.items if isinstance(item, FailedPrompt))


def parse_prompts(body: Mapping[str, Any]) -> PromptsReply:
    found = body.get("slice")
    whole = None if found is None else pick(PromptSlice, found, curve=tuple(found["curve"]))
    return pick(PromptsReply, body, items=tuple(map(_item, body["data"])), slice=whole, raw=body)


def _item(body: Mapping[str, Any]) -> ScoredPrompt | AnsweredPrompt | FailedPrompt:
    if "error" in body:
        return FailedPrompt(body["input"], parse_problem(body["error"]))
    if "text" in body:
        return _answered(body)
    return pick(
        ScoredPrompt,
        body,
        top=tuple(pick(TopClass, entry) for entry in body["top"]),
        uncertainty=parse_uncertainty(body["uncertainty"]),
    )


def _answered(body: Mapping[str, Any]) -> AnsweredPrompt:
    tokens = tuple(pick(AnswerToken, token) for token in body["tokens"])
    return pick(AnsweredPrompt, body, tokens=tokens, samples=tuple(body.get("samples", ())))
