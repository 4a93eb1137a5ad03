"""Request and response bodies of the HTTP interface."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Problem(BaseModel):
    """An error in the form of RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable word for programs, such as `queue_full`")
    instance: str | None = None
    request_id: str | None = None
    errors: list[dict[str, Any]] | None = None


RED_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGM4wcAAAAJcAMlDyBJGAAAAAElFTkSuQmCC"


class ImageItem(BaseModel):
    """One image of a JSON request."""

    model_config = ConfigDict(extra="forbid")

    id: str | None = Field(None, max_length=256, description="Comes back as `input`")
    data: str = Field(description="Base64 of the image file, or a data URI of it")


class ImagesRequest(BaseModel):
    """A JSON request to score images."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"images": [{"id": "red.png", "data": RED_PIXEL}], "top_k": 1}]},
    )

    images: list[ImageItem] = Field(min_length=1)
    model: str | None = None
    scores: list[str] | None = Field(None, description="Scores to compute; left out: all that the version has")
    top_k: int | None = Field(None, ge=1, le=1000, strict=True)


class ScoreQuery(BaseModel):
    """The options of a request to score, in the query; the body may say the same."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="Which model; may be left out when one is served")
    scores: list[str] | None = Field(None, description="Scores to compute, repeated or comma-separated; left out: all")
    top_k: int | None = Field(None, ge=1, le=1000, description="Classes in `top`, 5 if not said")


class TopEntry(BaseModel):
    """One of the most probable classes."""

    label: str
    class_index: int
    probability: float


class UncertaintyValue(BaseModel):
    """One uncertainty score; higher always means more uncertain."""

    value: float = Field(description="In the score's own unit")
    percentile: float = Field(ge=0, le=1, description="Share of the checkpoint's reference set that scores lower")
    kind: Literal["total", "aleatoric", "epistemic"]


class ScoredItem(BaseModel):
    """The answer for one input."""

    id: str
    input: str
    label: str
    class_index: int
    confidence: float = Field(ge=0, le=1, description="Calibrated probability that the label is right")
    raw_confidence: float = Field(ge=0, le=1, description="The network's own probability of that label")
    top: list[TopEntry]
    uncertainty: dict[str, UncertaintyValue]


class FailedItem(BaseModel):
    """An input that could not be scored, in its place."""

    input: str
    error: Problem


class ScoreUsage(BaseModel):
    """How many inputs came, and what became of them."""

    items: int
    scored: int
    failed: int


class ScoreResponse(BaseModel):
    """Answers in the order of the inputs, all by one version."""

    object: Literal["list"] = "list"
    model: str
    version: int
    data: list[ScoredItem | FailedItem]
    usage: ScoreUsage


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
    reason: str | None = Field(None, description="Why the model, or its active version, is not served")
    version: int | None = Field(None, description="The version that serves; the active one where none does")
    failed_version: int | None = Field(None, description="The active version, where it could not be loaded")
    task: str | None = None
    classes: int | None = None
    device: str | None = None
    precision: str | None = None
    calibrator: str | None = None
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


class ModelHealth(BaseModel):
    """Whether one model answers. `failed` is one without any version that serves."""

    id: str
    status: Literal["ready", "failed"]
    version: int | None = Field(None, description="The version that serves")
    calibrated: bool | None = None
    failed_version: int | None = Field(None, description="The active version, where it could not be loaded")
    reason: str | None = Field(None, description="Why the model, or its active version, is not served")


class JobsHealth(BaseModel):
    """The jobs database, and the workers that it heard of lately."""

    database: Literal["ready", "away"]
    workers: int | None = Field(None, description="null while the database is away")


class Health(BaseModel):
    """`status` is `ready` only when requests can be answered."""

    status: Literal["ok", "ready", "not_ready"]
    reasons: list[str] = []
    models: list[ModelHealth] = []
    jobs: JobsHealth | None = Field(None, description="Of `/health` only; says nothing about being ready")


Limit = Annotated[int, Field(ge=1, le=100)]


class DatasetReference(BaseModel):
    """A JSON request to register data that lies on the server."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"path": "photos/2024"}]})

    path: str = Field(min_length=1, max_length=1000, description="A file or folder below HOWSURE_DATA_ROOT")
    name: str | None = Field(None, min_length=1, max_length=200)


class DatasetRow(BaseModel):
    """A bad row."""

    row: str
    reason: str


class DatasetCard(BaseModel):
    """Labelled data: what is in it, and what was left out."""

    id: str
    object: Literal["dataset"] = "dataset"
    name: str
    kind: Literal["images", "outputs"]
    format: str
    rows: int
    good: int
    bad_count: int
    bad: list[DatasetRow] = Field(description="The first 100 bad rows")
    classes: int = Field(description="Different labels")
    labels: dict[str, int] | None = Field(description="Good rows by label; null for more than 1,000 classes")
    columns: int | None = Field(description="Logits of a row, for outputs")
    features: int | None = Field(description="Features of a row, for outputs that have them")
    bytes: int
    sha256: str
    created_at: str
    path: str | None = Field(description="Where registered data lies below the data root")


class DatasetList(BaseModel):
    """A page of datasets, newest first."""

    object: Literal["list"] = "list"
    data: list[DatasetCard]
    has_more: bool
    first_id: str | None
    last_id: str | None


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
    kind: Literal["timm", "torchvision", "transformers"]
    path: str = Field(max_length=1000, description="Folder or .safetensors file below the server's data root")
    network: NetworkOfFile | None = Field(None, description="For a .safetensors file: what it is of")
    classes: list[str] | None = Field(None, max_length=100_000, description="Class names, where the folder has none")


class Registered(BaseModel):
    """The new version, and the one that is active now."""

    object: Literal["model.version"] = "model.version"
    model: str
    version: int
    active: int
