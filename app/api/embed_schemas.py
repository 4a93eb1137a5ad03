"""Request and response bodies of `POST /v1/images/embed`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.api.schemas import RED_PIXEL, SCORES, FailedItem, ImagesBody, ImagesQuery, ScoreUsage, UncertaintyValue

Encoding = Literal["float", "base64"]

DEFAULT_SCORE = "left out: `loss_rank` where the version has it, else `entropy`"
ENCODING = "`float`, if not said: a list of numbers; `base64`: the same as little-endian float32, shorter and exact"
NORMALIZE = "Scale each embedding to length 1 (L2), so that a dot product is the cosine; if not said, it is as it is"


class EmbedRequest(ImagesBody):
    """A JSON request to embed images."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"images": [{"id": "red.png", "data": RED_PIXEL}], "normalize": True}]}
    )

    scores: list[str] | None = Field(None, description=f"{SCORES}; {DEFAULT_SCORE}")
    encoding_format: Encoding | None = Field(None, description=ENCODING)
    normalize: bool | None = Field(None, strict=True, description=NORMALIZE)


class EmbedQuery(ImagesQuery):
    """The options of a request to embed, in the query; the body may say the same."""

    scores: list[str] | None = Field(None, description=f"{SCORES}; repeated or comma-separated; {DEFAULT_SCORE}")
    encoding_format: Encoding | None = Field(None, description=ENCODING)
    normalize: bool | None = Field(None, description=NORMALIZE)


class EmbeddedItem(BaseModel):
    """The embedding of one input, and how uncertain it is."""

    object: Literal["embedding"] = "embedding"
    index: int = Field(description="Position of the input in the request")
    input: str
    embedding: list[float] | str = Field(description="Numbers, or base64 of little-endian float32")
    uncertainty: dict[str, UncertaintyValue]


class EmbedResponse(BaseModel):
    """Embeddings in the order of the inputs, all by one version: those of two versions may not compare."""

    object: Literal["list"] = "list"
    model: str
    version: int
    dimensions: int = Field(description="Numbers in an embedding")
    data: list[EmbeddedItem | FailedItem]
    usage: ScoreUsage
