"""One labelled image file."""

from dataclasses import dataclass
from typing import Generic

from typing_extensions import TypeVar

from models.data.labels import Label

LabelType = TypeVar("LabelType", bound=Label, default=int)


@dataclass(frozen=True, slots=True)
class LabelledImage(Generic[LabelType]):
    """`name` is unique in its dataset, `content` an image file. Training takes class indexes: hence the default."""

    name: str
    content: bytes
    label: LabelType
