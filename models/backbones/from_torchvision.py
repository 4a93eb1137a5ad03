"""Networks from torchvision: `resnet18`, or `resnet18:IMAGENET1K_V1` for given weights (cache or web)."""

from pickle import UnpicklingError
from typing import Any

from torch import nn

from models.backbones.backbone import Backbone, BackboneKind, ImportedNetwork, cut_at, last_linear
from models.core.errors import UnsupportedError
from models.core.input_spec import InputSpec


def build(name: str, arguments: dict[str, Any]) -> nn.Module:
    import torchvision

    network: nn.Module = torchvision.models.get_model(name, weights=None, **arguments)
    return network.eval()


def load(source: str) -> ImportedNetwork:
    import torchvision

    name, _, wanted = source.partition(":")
    choices = torchvision.models.get_model_weights(name)
    weights = choices[wanted or "DEFAULT"]
    categories = tuple(weights.meta["categories"])
    try:
        weights.get_state_dict(check_hash=True, weights_only=True)
    except UnpicklingError as error:  # torchvision itself would load, and so run, anything that is in the cache
        raise UnsupportedError(f"the file of {source} in torch's cache holds more than tensors: {error}") from error
    network = torchvision.models.get_model(name, weights=weights).eval()
    if getattr(network, "transform_input", False):
        raise UnsupportedError(
            f"{name} normalises its input a second time, which a stored network would not; use timm's"
        )
    return ImportedNetwork(
        network=network,
        name=name,
        arguments={"num_classes": len(categories)},
        input_spec=input_spec(weights.transforms()),
        classes=categories,
    )


def input_spec(preset: Any) -> InputSpec:
    """The input spec out of torchvision's evaluation preset."""
    (size,), (resize,) = preset.crop_size, preset.resize_size
    return InputSpec(
        height=size,
        width=size,
        resize=resize,
        interpolation=preset.interpolation.value,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )


def cut(network: nn.Module) -> Backbone:
    return cut_at(network, last_linear(network))


KIND = BackboneKind(build=build, load=load, cut=cut)
