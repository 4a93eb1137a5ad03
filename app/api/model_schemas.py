"""Request and response bodies of `/v1/models`."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class ScoreDescription(BaseModel):
    """A score that a model offers."""

    name: str
    kind: Literal["total", "aleatoric", "epistemic"]


class ModelCard(BaseModel):
    """A served model and how well calibrated it is. Read `calibration.warnings`."""

    id: str
    object: Literal["model"] = "model"
    created: int | None = Field(None, description="Unix time of the last move that made this version active")
    owned_by: Literal["howsure"] = "howsure"
    status: Literal["ready", "loading", "failed"]
    default: bool = Field(False, description="Answers requests that name no model")
    reason: str | None = Field(None, description="Why the model, or its active version, is not served")
    version: int | None = Field(None, description="The version that serves; the active one where none does")
    failed_version: int | None = Field(None, description="The active version, where it could not be loaded")
    task: str | None = None
    classes: int | None = None
    device: str | None = None
    precision: str | None = None
    calibrator: str | None = None
    token_temperature: float | None = Field(None, description="Of free answers; null: their tokens are not calibrated")
    scores: list[ScoreDescription] = []
    calibration: dict[str, Any] | None = None


class ModelList(BaseModel):
    """A page of models."""

    object: Literal["list"] = "list"
    data: list[ModelCard]
    has_more: bool
    first_id: str | None
    last_id: str | None


class VersionSummary(BaseModel):
    """One published version."""

    version: int
    active: bool
    reason: str | None = Field(None, description="Why the version cannot be read")
    calibrator: str | None = None
    scores: list[str] = []
    precisions: list[str] = []
    code_version: str | None = None
    token_temperatures: dict[str, float] = Field({}, description="Of free answers, by precision, where there are any")


class Move(BaseModel):
    """One activation: which version began to serve, when, by whom and why."""

    version: int
    at: str
    actor: str
    reason: str


class VersionList(BaseModel):
    """A page of a model's versions, newest first, and the moves between them."""

    object: Literal["list"] = "list"
    data: list[VersionSummary]
    history: list[Move]
    has_more: bool


class ActivateRequest(BaseModel):
    """Which version shall serve, and why, for the history."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"version": 1, "reason": "roll back"}]})

    version: int = Field(ge=1, le=2**31, strict=True)
    reason: str = Field("", max_length=1000)


class Activated(BaseModel):
    """What is active now, and what the process that answered serves."""

    object: Literal["activation"] = "activation"
    model: str
    version: int = Field(description="The active version")
    previous: int | None = Field(description="The version that was active before this call")
    serving: int | None = Field(description="The version that this process serves; it may still be loading `version`")
    reason: str | None = Field(None, description="Why this process cannot serve the active version")
    history: list[Move]


class InputOfNetwork(BaseModel):
    """How an image becomes an input: shorter side to `resize`, centre `height` x `width`, scaled and normalised."""

    model_config = ConfigDict(extra="forbid")

    height: int = Field(ge=1, le=4096)
    width: int = Field(ge=1, le=4096)
    resize: int = Field(ge=1, le=8192)
    interpolation: Literal["bilinear", "bicubic", "lanczos", "nearest"] = "bicubic"
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    draft: bool = True
    fit: Literal["crop", "squash"] = "crop"


class NetworkOfFile(BaseModel):
    """What a .safetensors file holds the weights of."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=200, description="As the library calls it, such as `resnet18`")
    arguments: dict[str, int | float | bool | str] = Field({}, description="Such as `num_classes`")
    input: InputOfNetwork

    @field_validator("arguments")
    @classmethod
    def _harmless(cls, value: dict[str, Any]) -> dict[str, Any]:
        if found := [name for name in value if any(word in name for word in ("pretrained", "path", "url", "file"))]:
            raise ValueError(f"{', '.join(found)}: weights come from the file alone")
        return value


class RegisterRequest(BaseModel):
    """A network to take up."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(max_length=100, description="The name to serve it under")
    kind: Literal["timm", "torchvision", "transformers", "causal_lm"] = Field(
        description="What can read it; `causal_lm` is a language model, by transformers"
    )
    path: str | None = Field(
        None, max_length=1000, description="Folder, .safetensors or .gguf file below the server's data root"
    )
    hub: str | None = Field(
        None,
        max_length=200,
        description="Its name on the Hugging Face hub, ORG/NAME, where HOWSURE_HUB is set",
    )
    network: NetworkOfFile | None = Field(None, description="For a .safetensors file: what it is of")
    classes: list[str] | None = Field(None, max_length=100_000, description="Class names, where the folder has none")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.path is None) == (self.hub is None):
            raise ValueError("give either path or hub: the network comes from one of them")
        return self

    @property
    def source(self) -> str:
        """The path, or the name on the hub."""
        return self.hub or self.path or ""


class Registered(BaseModel):
    """The new version, and the one that is active now."""

    object: Literal["model.version"] = "model.version"
    model: str
    version: int
    active: int
