"""What `POST /v1/images/embed` answers, as typed values; the server packs the numbers, and they are unpacked here."""

import base64
import sys
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.client.replies import FailedImage, Uncertainty, parse_failed, parse_uncertainty, pick


@dataclass(frozen=True, slots=True)
class EmbeddedImage:
    """The embedding of one image; `index` is its place among the images that were sent."""

    index: int
    input: str
    embedding: list[float] = field(repr=False)
    uncertainty: Mapping[str, Uncertainty]


@dataclass(frozen=True, slots=True)
class EmbedReply:
    """One item an image, in the order they were sent, all by one version; each embedding has `dimensions` numbers."""

    model: str
    version: int
    dimensions: int
    items: tuple[EmbeddedImage | FailedImage, ...]
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def embedded(self) -> tuple[EmbeddedImage, ...]:
        return tuple(item for item in self.items if isinstance(item, EmbeddedImage))

    @property
    def failed(self) -> tuple[FailedImage, ...]:
        return tuple(item for item in self.items if isinstance(item, FailedImage))


def parse_embeddings(body: Mapping[str, Any]) -> EmbedReply:
    return pick(EmbedReply, body, items=tuple(_item(item, body["dimensions"]) for item in body["data"]), raw=body)


def _item(body: Mapping[str, Any], dimensions: int) -> EmbeddedImage | FailedImage:
    if "error" in body:
        return parse_failed(body)
    embedding = _unpacked(body["embedding"])
    if len(embedding) != dimensions:
        raise ValueError(f"an embedding of {len(embedding)} numbers in a reply of {dimensions} dimensions")
    return pick(EmbeddedImage, body, embedding=embedding, uncertainty=parse_uncertainty(body["uncertainty"]))


def _unpacked(text: str) -> list[float]:
    numbers = array("f", base64.b64decode(text, validate=True))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()
