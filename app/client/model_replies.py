"""What the HTTP interface answers about models and the server itself, as typed values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.client.replies import pick


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

    @property
    def harmed(self) -> bool:
        """Whether calibration made ECE worse, by more than its noise floor."""
        above = [max(0.0, measures.ece - measures.ece_floor) for measures in (self.before, self.after)]
        return self.after.ece > self.before.ece and above[1] > above[0]


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
    token_temperatures: Mapping[str, float] = field(default_factory=dict)  # of free answers, by precision


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


def _calibration(body: Mapping[str, Any]) -> Calibration:
    evaluations = (
        pick(Evaluation, entry, before=pick(Measures, entry["before"]), after=pick(Measures, entry["after"]))
        for entry in body["evaluations"]
    )
    return pick(Calibration, body, evaluations=tuple(evaluations), warnings=tuple(body["warnings"]))
