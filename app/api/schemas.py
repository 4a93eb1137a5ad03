"""Request and response bodies of scoring and health, and what every route shares."""

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


MOST_ITEMS = 10_000  # of a list in a body, whatever a server admits: validation stops there
RED_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGM4wcAAAAJcAMlDyBJGAAAAAElFTkSuQmCC"

SCORES = (
    "Scores to compute, such as `entropy`; where the version has a score in several forms, a form may follow:"
    " `epistemic:exact`, `epistemic:fast` or `epistemic:last_layer`"
)
EXACT_TOP = (
    "How many images get a score in its exact form, the most doubtful ones by its fast form; left out: as many as the"
    " budget allows. Needs a score that is asked for as exact"
)
BUDGET = (
    "Milliseconds for the scores, from when the images have arrived; what does not fit comes in a cheaper form, and"
    " `form` says which. 0: always `last_layer`. Left out: the server's `HOWSURE_EXACT_SECONDS`"
)

SORT = (
    "A score that is computed, by name: the most uncertain images come first by it, failed ones last; left out: the"
    " order of the inputs"
)


Scores = Annotated[list[str], Field(max_length=1000)]


class ImageItem(BaseModel):
    """One image of a JSON request."""

    model_config = ConfigDict(extra="forbid")

    id: str | None = Field(None, max_length=256, description="Comes back as `input`")
    data: str = Field(description="Base64 of the image file, or a data URI of it")


class ImagesBody(BaseModel):
    """What the JSON of every request about images has."""

    model_config = ConfigDict(extra="forbid")

    images: list[ImageItem] = Field(min_length=1, max_length=MOST_ITEMS)
    model: str | None = None
    scores: Scores | None = None


class ImagesQuery(BaseModel):
    """The options of every request about images, in the query."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="Which model; may be left out when one is served")
    scores: list[str] | None = None

    @field_validator("scores")
    @classmethod
    def _split(cls, scores: list[str] | None) -> list[str] | None:
        if scores is None:
            return None
        return [name.strip() for entry in scores for name in entry.split(",") if name.strip()]


class ImagesRequest(ImagesBody):
    """A JSON request to score images."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"images": [{"id": "red.png", "data": RED_PIXEL}], "top_k": 1}]}
    )

    scores: Scores | None = Field(None, description=f"{SCORES}; left out: all that the version has")
    top_k: int | None = Field(None, ge=1, le=1000, strict=True)
    exact_top: int | None = Field(None, ge=1, le=1000, strict=True, description=EXACT_TOP)
    budget_ms: int | None = Field(None, ge=0, le=3_600_000, strict=True, description=BUDGET)
    sort: str | None = Field(None, description=SORT)


class ScoreQuery(ImagesQuery):
    """The options of a request to score, in the query; the body may say the same."""

    scores: list[str] | None = Field(None, description=f"{SCORES}; repeated or comma-separated; left out: all")
    top_k: int | None = Field(None, ge=1, le=1000, description="Classes in `top`, 5 if not said")
    exact_top: int | None = Field(None, ge=1, le=1000, description=EXACT_TOP)
    budget_ms: int | None = Field(None, ge=0, le=3_600_000, description=BUDGET)
    sort: str | None = Field(None, description=SORT)


class TopEntry(BaseModel):
    """One of the most probable classes."""

    label: str
    class_index: int
    probability: float


class UncertaintyValue(BaseModel):
    """One uncertainty score; higher always means more uncertain."""

    value: float = Field(description="In the score's own unit")
    percentile: float | None = Field(
        ge=0,
        le=1,
        description="Share of the checkpoint's reference set that scores lower; null where it has none in this form",
    )
    kind: Literal["total", "aleatoric", "epistemic"]
    form: Literal["exact", "fast", "last_layer"] | None = Field(
        None, description="How it was computed; only for a score that can be had in several forms"
    )
    note: str | None = Field(None, description="Why the form is not the one that was asked for")


class ScoredItem(BaseModel):
    """The answer for one input."""

    id: str
    input: str
    label: str
    class_index: int
    confidence: float = Field(ge=0, le=1, description="Calibrated probability that the label is right")
    raw_confidence: float = Field(ge=0, le=1, description="The network's own probability of that label")
    calibrated: bool = Field(description="false: the version has no calibrator, `confidence` is the network's own")
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
    """Answers in the order of the inputs, or of `sort`, all by one version."""

    object: Literal["list"] = "list"
    model: str
    version: int
    data: list[ScoredItem | FailedItem]
    usage: ScoreUsage


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
