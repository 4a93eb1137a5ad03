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
    """A prediction; `confidence` is the calibrated probability that `label` is right."""

    id: str
    input: str
    label: str
    class_index: int
    confidence: float
    raw_confidence: float
    top: tuple[TopClass, ...]
    uncertainty: Mapping[str, Uncertainty]


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


@dataclass(frozen=True, slots=True)
class Measures:
    """Accuracy and calibration; a `_floor` is what a perfectly calibrated model would read on as many rows."""

    accuracy: float
    nll: float
    brier: float
    ece: float
    ece_floor: float
    ece_mass: float
    ece_mass_floor: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One data set, before and after calibration."""

    data: str
    role: str
    rows: int
    note: str
    before: Measures
    after: Measures


@dataclass(frozen=True, slots=True)
class Calibration:
    """How well calibrated a model is; read `warnings` first."""

    precision: str
    evaluations: tuple[Evaluation, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A model; all but `id` and `status` may be missing for one that could not be loaded, and `reason` says why.

    `failed_version` is the active version where an older one serves because this one could not be loaded.
    """

    id: str
    status: str
    raw: Mapping[str, Any] = field(repr=False)
    default: bool = False  # answers requests that name no model
    version: int | None = None
    failed_version: int | None = None
    reason: str | None = None
    task: str | None = None
    classes: int | None = None
    device: str | None = None
    precision: str | None = None
    calibrator: str | None = None
    token_temperature: float | None = None  # of free answers
    scores: Mapping[str, str] = field(default_factory=dict)  # name → kind
    calibration: Calibration | None = None


@dataclass(frozen=True, slots=True)
class VersionSummary:
    """One published version; `reason` says why it cannot be read."""

    version: int
    active: bool
    reason: str | None = None
    calibrator: str | None = None
    scores: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    code_version: str | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """When a version began to serve, by whom and why."""

    version: int
    at: str
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Versions:
    """Every published version, newest first, and the moves between them, oldest first."""

    versions: tuple[VersionSummary, ...]
    history: tuple[Move, ...]
    raw: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Activation:
    """`version` is active now, `previous` was before; the server that answered serves `serving`.

    Where these differ, `reason` says why, or is None while the server is still loading the version.
    """

    model: str
    version: int
    previous: int | None
    serving: int | None
    history: tuple[Move, ...]
    raw: Mapping[str, Any] = field(repr=False)
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Registration:
    """A network was taken up as `version`; `active` is the version that serves."""

    model: str
    version: int
    active: int
    raw: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the server answers requests now, and if not, why."""

    ready: bool
    reasons: tuple[str, ...]


def parse_problem(body: Mapping[str, Any]) -> Problem:
    return pick(Problem, body, errors=tuple(body.get("errors") or ()))


def parse_scores(body: Mapping[str, Any]) -> ScoreReply:
    return pick(ScoreReply, body, items=tuple(map(_item, body["data"])), raw=body)


def parse_model(body: Mapping[str, Any]) -> ModelCard:
    calibration = body.get("calibration")
    return pick(
        ModelCard,
        body,
        scores={score["name"]: score["kind"] for score in body.get("scores") or ()},
        calibration=None if calibration is None else _calibration(calibration),
        raw=body,
    )


def parse_versions(body: Mapping[str, Any]) -> Versions:
    versions = (
        pick(VersionSummary, entry, scores=tuple(entry["scores"]), precisions=tuple(entry["precisions"]))
        for entry in body["data"]
    )
    return Versions(tuple(versions), tuple(pick(Move, move) for move in body["history"]), body)


def parse_activation(body: Mapping[str, Any]) -> Activation:
    return pick(Activation, body, history=tuple(pick(Move, move) for move in body["history"]), raw=body)


def parse_registration(body: Mapping[str, Any]) -> Registration:
    return pick(Registration, body, raw=body)


def parse_readiness(body: Mapping[str, Any]) -> Readiness:
    if body["status"] not in ("ready", "not_ready"):
        raise ValueError(f"unknown status {body['status']!r}")
    return Readiness(body["status"] == "ready", tuple(body["reasons"]))


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


def _calibration(body: Mapping[str, Any]) -> Calibration:
    evaluations = (
        pick(Evaluation, entry, before=pick(Measures, entry["before"]), after=pick(Measures, entry["after"]))
        for entry in body["evaluations"]
    )
    return pick(Calibration, body, evaluations=tuple(evaluations), warnings=tuple(body["warnings"]))


def pick(kind: type[Value], body: Mapping[str, Any], **parsed: Any) -> Value:
    """A dataclass from the fields of `body` that it has; `parsed` go before them."""
    names = {entry.name for entry in fields(kind)}  # type: ignore[arg-type]  # every caller gives a dataclass
    return kind(**({name: value for name, value in body.items() if name in names} | parsed))
