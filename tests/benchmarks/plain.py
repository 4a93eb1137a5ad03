"""The model as an engineer would serve it without howsure: timm's network, Pillow's full decode, torchvision's
transforms, softmax. The weights and the preprocessing are those of the shipped checkpoint."""

import io
from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms

from models.backbones.prepared import PreparedNetwork, build_network, prepare
from models.checkpoints.package_weights import package_weights
from models.checkpoints.shipped import FOLDER
from models.core.checkpoint import read_version
from models.core.manifest import Manifest

MODEL = "efficientnet-lite0"
TOP = 5


def manifest() -> Manifest:
    return read_version(FOLDER / MODEL).manifest


class PlainModel:
    """`precision` is float32 or bfloat16; the answer has the labels and probabilities an application needs."""

    def __init__(self, precision: str = "float32", channels_last: bool = False, compiled: bool = False) -> None:
        record = manifest().backbone
        self.classes = manifest().classes
        self.dtype = getattr(torch, precision)
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        network = build_network(record, package_weights(record))
        network = network.to(dtype=self.dtype, memory_format=self.layout)  # type: ignore[call-overload]
        self.network: Any = torch.compile(network) if compiled else network
        self.transform = _transform()

    def decode(self, content: bytes) -> Tensor:
        """(3, height, width) float32."""
        tensor: Tensor = self.transform(Image.open(io.BytesIO(content)).convert("RGB"))
        return tensor

    @torch.inference_mode()
    def predict(self, images: list[Tensor]) -> list[dict[str, Any]]:
        batch = torch.stack(images).to(dtype=self.dtype, memory_format=self.layout)
        top = self.network(batch).float().softmax(dim=1).topk(TOP)
        rows = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        return [self._answer(indices, values) for indices, values in rows]

    def _answer(self, indices: list[int], values: list[float]) -> dict[str, Any]:
        top = [
            {"label": self.classes[index], "probability": value} for index, value in zip(indices, values, strict=True)
        ]
        return {"label": top[0]["label"], "confidence": top[0]["probability"], "top": top}


def howsure_network(precision: str = "bfloat16", compiled: bool = False) -> PreparedNetwork:
    """The same weights folded, cast and laid out as howsure serves them."""
    found = manifest()
    network: nn.Module = build_network(found.backbone, package_weights(found.backbone))
    device = torch.device("cpu")
    return prepare(network, found.backbone.kind, found.input_spec, device, precision, compiled=compiled)


def _transform() -> Callable[[Image.Image], Tensor]:
    spec = manifest().input_spec
    return transforms.Compose(
        [
            transforms.Resize(spec.resize, interpolation=transforms.InterpolationMode(spec.interpolation)),
            transforms.CenterCrop((spec.height, spec.width)),
            transforms.ToTensor(),
            transforms.Normalize(spec.mean, spec.std),
        ]
    )
