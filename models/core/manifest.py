"""`manifest.json`: everything about one checkpoint version that is not a tensor. Holds no time and no machine path."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from models.core.errors import CheckpointError, UnsupportedError
from models.core.gradient_plan import GradientPlan
from models.core.input_spec import InputSpec
from models.core.prompt_spec import PromptSpec

FORMAT = 3
IMAGES_FORMAT = 2  # what a version without prompts is written in, so that an older release can read it
OLDER: dict[int, dict[str, Any]] = {  # format → the fields that it lacks
    1: {"gradients": None, "prompts": None},
    2: {"prompts": None},
}


@dataclass(frozen=True, slots=True)
class WeightsOrigin:
    """A file inside an installed Python package that the backbone weights can be converted from."""

    package: str
    file: str
    sha256: str


@dataclass(frozen=True, slots=True)
class BackboneRecord:
    """How to build the network and which stored weights to load into it, strictly."""

    kind: str  # key of the backbone registry
    name: str
    arguments: dict[str, Any]
    sha256: str  # of the safetensors file in the store, which is also its name there
    origin: WeightsOrigin | None = None


@dataclass(frozen=True, slots=True)
class DataUse:
    """Which rows of which data were used for what; `fingerprint` is the sha256 over the sorted row names."""

    name: str
    sha256: str
    role: str  # train | fit | report | shift
    rows: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """See the fields. `precisions` lists the number formats that calibrator and references were fitted in.

    Without `gradients` the epistemic score is that of the last layer, in closed form. A classifier of images has an
    `input_spec`, a language model has `prompts` and no classes: each request brings its own choices.
    """

    task: str
    backbone: BackboneRecord
    classes: tuple[str, ...]
    input_spec: InputSpec | None
    calibrator: str | None
    scores: tuple[str, ...]
    precisions: tuple[str, ...]
    data: tuple[DataUse, ...]
    seeds: dict[str, int]
    code_version: str
    machine: str  # processor the version was fitted on: equal bytes are promised on the same kind only
    report: dict[str, Any]
    files: dict[str, str]  # name → sha256 of the files beside the manifest
    gradients: GradientPlan | None = None
    prompts: PromptSpec | None = None

    def __post_init__(self) -> None:
        if (self.input_spec is None) == (self.prompts is None):
            raise ValueError("a version has either an input_spec, for images, or prompts")

    @property
    def image_input(self) -> InputSpec:
        """Raises UnsupportedError for a language model."""
        if self.input_spec is None:
            raise UnsupportedError("this version is of a language model: it takes prompts, not images")
        return self.input_spec

    def to_dict(self) -> dict[str, Any]:
        written = {**asdict(self), "format": IMAGES_FORMAT if self.prompts is None else FORMAT}
        if self.prompts is None:
            del written["prompts"]
        elif not self.prompts.token_temperatures:  # releases that do not know them can read the version
            del written["prompts"]["token_temperatures"]
        return {**written, "input_spec": None if self.input_spec is None else self.input_spec.to_dict()}

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Parse and check the shape. Raises CheckpointError for anything this release does not read."""
        try:
            found = json.loads(text)
        except ValueError as error:
            raise CheckpointError(f"manifest.json is not JSON: {error}") from error
        written = found.get("format") if isinstance(found, dict) else type(found).__name__
        if written != FORMAT and written not in OLDER:
            raise CheckpointError(f"manifest format {written!r} is not readable by this release (it reads {FORMAT})")
        found = OLDER.get(written, {}) | {name: value for name, value in found.items() if name != "format"}
        expected = {field.name for field in fields(cls)}
        if found.keys() != expected:
            raise CheckpointError(f"manifest.json: fields differ in {sorted(found.keys() ^ expected)}")
        try:
            return cls(**_typed(found))
        except (TypeError, ValueError, KeyError) as error:
            raise CheckpointError(f"manifest.json: {error}") from error


def _typed(found: dict[str, Any]) -> dict[str, Any]:
    backbone = dict(found["backbone"])
    if backbone.get("origin") is not None:
        backbone["origin"] = WeightsOrigin(**backbone["origin"])
    for name in ("seeds", "report", "files"):
        if not isinstance(found[name], dict):
            raise TypeError(f"{name} must be an object")
    if not isinstance(found["calibrator"], str | None):
        raise TypeError("calibrator must be a name or null")
    return {
        **found,
        "backbone": BackboneRecord(**backbone),
        "classes": _texts(found, "classes"),
        "input_spec": None if found["input_spec"] is None else InputSpec.from_dict(found["input_spec"]),
        "scores": _texts(found, "scores"),
        "precisions": _texts(found, "precisions"),
        "data": tuple(DataUse(**use) for use in found["data"]),
        "gradients": None if found["gradients"] is None else GradientPlan.from_dict(found["gradients"]),
        "prompts": None if found["prompts"] is None else PromptSpec.from_dict(found["prompts"]),
    }


def _texts(found: dict[str, Any], name: str) -> tuple[str, ...]:
    if not isinstance(found[name], list) or not all(isinstance(text, str) for text in found[name]):
        raise TypeError(f"{name} must be a list of names")
    return tuple(found[name])
