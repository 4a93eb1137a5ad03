"""Groups of parameters of a job `train`: first weights, augmentation, noise warm-up, loss-rank head."""

import json
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from app.api.registry_names import Distribution, Initial, Kind, Optimiser, Scope

LOADERS = ("pretrained", "checkpoint", "weights", "path", "url", "file", "cache")  # in the names of arguments
SETTLED = ("num_classes", "num_labels", "id2label", "label2id")
Argument = int | float | bool | str | None


class NetworkParams(BaseModel):
    """An untrained network."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind = Field("howsure", description="Library that it comes from; howsure has small ones for small images")
    name: str = Field(
        "resnet9",
        max_length=200,
        pattern=r"^[A-Za-z0-9_.\-]+$",
        description="As the library calls it; of howsure resnet9, resnet or perceptron, of transformers a model type",
    )
    arguments: dict[str, Argument | list[Argument]] = Field(
        {}, max_length=100, description="Of the network; the number of classes is set by the data"
    )
    initial: Initial = Field("he", description="First weights, drawn by seed; as_built: as the library draws them")

    @field_validator("arguments")
    @classmethod
    def _harmless(cls, value: dict[str, Any]) -> dict[str, Any]:
        if found := [name for name in value if any(word in name for word in LOADERS)]:
            raise ValueError(f"{', '.join(found)}: an untrained network has no weights to load")
        if found := [name for name in value if name in SETTLED]:
            raise ValueError(f"{', '.join(found)}: the data say which classes there are; leave it out")
        try:
            json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        except ValueError as error:
            raise ValueError("texts have to be Unicode, and numbers finite") from error
        return value


class StartParams(BaseModel):
    """A version whose weights are trained on."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, max_length=100, description="Left out: the job's model")
    version: int | None = Field(None, ge=1, le=2**31, description="Left out: the active one")


class AugmentationParams(BaseModel):
    """What is done to each image in each epoch anew; lengths are shares of its side."""

    model_config = ConfigDict(extra="forbid")

    flip: float = Field(
        0.5, ge=0, le=1, description="Probability of left and right being swapped; 0 for digits, text, signs"
    )
    shift: float = Field(0.125, ge=0, le=1, description="Most that it is moved by; what is missing is reflected")
    cutout: float = Field(0.0, ge=0, le=1, description="Side of a grey square at a random place")


class NoiseWarmUpParams(BaseModel):
    """A phase on random noise with random labels before the data, after which the network is sure of nothing.

    Defaults as in arXiv 2412.17411.
    """

    model_config = ConfigDict(extra="forbid")

    steps: int = Field(3750, ge=1, le=10_000_000, description="At most; it stops by itself where `stop` is set")
    stop: bool = Field(True, description="Stop when confidence on fresh noise is at chance and the loss is flat")
    batch: int = Field(128, ge=2, le=65_536)
    optimiser: Optimiser = "adam"
    rate: float = Field(1e-4, gt=0, le=100)
    momentum: float = Field(0.9, ge=0, lt=1, description="Of sgd")
    weight_decay: float = Field(0.0, ge=0, le=10)
    distribution: Distribution = Field("normal", description="Of a pixel; both have mean 0 and the same deviation")
    deviation: float = Field(1.0, gt=0, le=100, description="Of a pixel, in normalised units")
    scope: Scope = Field("all", description="What the noise trains; head: the last layer alone")


class HeadParams(BaseModel):
    """The head that ranks inputs by the loss to be expected, trained on views of the held-out rows."""

    model_config = ConfigDict(extra="forbid")

    views: int = Field(10, ge=1, le=1000, description="Augmented views of each held-out row")
    passes: int = Field(20, ge=1, le=1000, description="How often the views are gone through; stops early by itself")
    width: int = Field(128, ge=1, le=8192, description="Units of a hidden layer")
    depth: int = Field(2, ge=1, le=8, description="Hidden layers")


class SourceParams(BaseModel):
    """Where the first weights come from: a network, or a version to go on from."""

    network: NetworkParams | None = Field(None, description="Left out, and start_from too: howsure's resnet9")
    start_from: StartParams | None = Field(
        None,
        description="Fine-tune a version. Where it has all classes of the data it keeps its head and its classes,"
        " else it gets a new head for those of the data",
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.network is not None and self.start_from is not None:
            raise ValueError("network and start_from are both given: the weights come from one of them")
        if self.network is None and self.start_from is None:
            self.network = NetworkParams()
        return self
