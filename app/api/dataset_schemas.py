"""Request and response bodies of `/v1/datasets`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


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
    kind: Literal["images", "outputs", "questions", "completions"]
    format: str
    rows: int
    good: int
    bad_count: int
    bad: list[DatasetRow] = Field(description="The first 100 bad rows")
    classes: int = Field(description="Different labels")
    labels: dict[str, int] | None = Field(
        description="Good rows by label, of questions by the place of the right choice; null for more than 1,000"
    )
    tasks: dict[str, int] | None = Field(description="Of questions: good rows by task; null for more than 1,000")
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
