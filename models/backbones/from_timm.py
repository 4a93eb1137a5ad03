"""Networks from timm: any name of `timm.list_models()`, `hf-hub:…`, or a local folder in the hub's layout."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from models.backbones.backbone import Backbone, BackboneKind, ImportedNetwork, cut_at
from models.core.errors import UnsupportedError
from models.core.input_spec import RESAMPLING, InputSpec


def build(name: str, arguments: dict[str, Any]) -> nn.Module:
    import timm

    network: nn.Module = timm.create_model(name, pretrained=False, **arguments)
    return network.eval()


def load(source: str) -> ImportedNetwork:
    import timm

    name = f"local-dir:{source}" if Path(source).is_dir() else source
    network = timm.create_model(name, pretrained=True).eval()
    labels = network.pretrained_cfg.get("label_names")
    return ImportedNetwork(
        network=network,
        name=network.pretrained_cfg["architecture"],
        # Options such as the image size that a checkpoint's own config.json sets.
        arguments=getattr(network, "_model_args", {}) | {"num_classes": network.num_classes},
        input_spec=input_spec(network),
        classes=tuple(labels) if labels else None,
    )


def input_spec(network: nn.Module) -> InputSpec:
    """The input spec out of timm's configuration of the network. Raises UnsupportedError for other crops."""
    import timm.data

    config = timm.data.resolve_model_data_config(network)
    channels, height, width = config["input_size"]
    # timm's squash with a share below 1 cuts a frame off the squashed image, which InputSpec cannot say.
    whole = config["crop_mode"] == "squash" and config["crop_pct"] == 1
    centre = config["crop_mode"] == "center" and height == width
    if channels != 3 or not (whole or centre) or config["interpolation"] not in RESAMPLING:
        wanted = {name: config[name] for name in ("crop_mode", "crop_pct", "input_size", "interpolation")}
        raise UnsupportedError(f"timm preprocessing {wanted} is not supported")
    return InputSpec(
        height=height,
        width=width,
        resize=int(min(height, width) / config["crop_pct"]),
        interpolation=config["interpolation"],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        fit="crop" if centre else "squash",
    )


def cut(network: nn.Module) -> Backbone:
    return cut_at(network, network.get_classifier())  # type: ignore[operator]  # every timm network has it


def for_size(trunk: nn.Module, images: Tensor, keep: Collection[str]) -> nn.Module:
    from models.backbones.same_padding import make_padding_static

    return make_padding_static(trunk, images, keep)


KIND = BackboneKind(build=build, load=load, cut=cut, for_size=for_size)
