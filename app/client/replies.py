"""What the HTTP interface answers, as typed values. Fields not known here are passed over: the server may be newer.

`raw` of a reply is its JSON as it came.

HowsureApiError             the server answered with an error
└── HowsureConnectionError  nothing answered, or something that is not a howsure server
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Problem:
    """An error in the words of the server; `code` is stable, `detail` is for people."""

    status: int
    code: str
    detail: str
    errors: tuple[Mapping[str, Any], ...] = ()
    request_id: str | None = None


class HowsureApiError(Exception):
    """Carries the problem that the server answered with; the message is its detail."""

    def __init__(self, problem: Problem, raw: Mapping[str, Any] | None = None) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.raw = raw
        self.status, self.code, self.detail = problem.status, problem.code, problem.detail
        self.errors, self.request_id = problem.errors, problem.request_id


class HowsureConnectionError(HowsureApiError):
    """`code` is unreachable, no_reply, not_howsure, invalid_url or not_loaded; `status` is 0 without a reply."""


@dataclass(frozen=True, slots=True)
class TopClass:
    """One of the most probable classes."""

    label: str
    class_index: int
    probability: float


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """One score; higher means more uncertain. `percentile` is the share of the reference set that scores lower.

    It is None where the version has no reference of the `form`, which itself is None for a score that has only one.
    `note` says why the form is not the one that was asked for.
    """

    value: float
    percentile: float | None
    kind: str
    form: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class ScoredImage:
    """A prediction; `confidence` is the calibrated probability that `label` is right.

    Where `calibrated` is False the version has no calibrator, and `confidence` is the network's own.
    """

    id: str
    input: str
    label: str
    class_index: int
    confidence: float
    raw_confidence: float
    top: tuple[TopClass, ...]
    uncertainty: Mapping[str, Uncertainty]
    calibrated: bool = True  # which an older server does not say


@dataclass(frozen=True, slots=True)
class FailedImage:
    """An image that could not be scored."""

    input: str
    error: Problem


@dataclass(frozen=True, slots=True)
class ScoreReply:
    """One item an image, in the order they were sent or were to be sorted in, all by one version."""

    model: str
    version: int
    items: tuple[ScoredImage | FailedImage, ...]
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def scored(self) -> tuple[ScoredImage, ...]:
        return tuple(item for item in self.items if isinstance(item, ScoredImage))

    @property
    def failed(self) -> tuple[FailedImage, ...]:
        return tuple(item for item in self.items if isinstance(item, FailedImage))


def parse_problem(body: Mapping[str, Any]) -> Problem:
    return pick(Problem, body, errors=tuple(body.get("errors") or ()))


def parse_scores(body: Mapping[str, Any]) -> ScoreReply:
    return pick(ScoreReply, body, items=tuple(map(_item, body["data"])), raw=body)


def parse_failed(body: Mapping[str, Any]) -> FailedImage:
    return FailedImage(body["input"], parse_problem(body["error"]))


def parse_uncertainty(body: Mapping[str, Any]) -> dict[str, Uncertainty]:
    return {name: pick(Uncertainty, score) for name, score in body.items()}


def _item(body: Mapping[str, Any]) -> ScoredImage | FailedImage:
    if "error" in body:
        return parse_failed(body)
    return pick(
        ScoredImage,
        body,
        top=tuple(pick(TopClass, entry) for entry in body["top"]),
        uncertainty=parse_uncertainty(body["uncertainty"]),
    )


def pick(kind: type[Value], body: Mapping[str, Any], **parsed: Any) -> Value:
    """A dataclass from the fields of `body` that it has; `parsed` go before them."""
    names = {entry.name for entry in fields(kind)}  # type: ignore[arg-type]  # every caller gives a dataclass
    return kind(**({name: value for name, value in body.items() if name in names} | parsed))
