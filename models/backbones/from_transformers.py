"""Image classifiers from transformers: a hub name or a local folder that `AutoModelForImageClassification` reads."""

from typing import Any

from PIL import Image
from torch import Tensor, nn

from models.backbones.backbone import Backbone, BackboneKind, ImportedNetwork, cut_at
from models.core.errors import UnsupportedError
from models.core.input_spec import RESAMPLING, InputSpec


def build(name: str, arguments: dict[str, Any]) -> nn.Module:
    """`name` is the model type (`vit`, `convnext`, …), `arguments` the whole configuration."""
    from transformers import AutoConfig, AutoModelForImageClassification

    network: nn.Module = AutoModelForImageClassification.from_config(AutoConfig.for_model(name, **arguments))
    return network.eval()


def load(source: str) -> ImportedNetwork:
    """Code that comes with a checkpoint is never run."""
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    network = AutoModelForImageClassification.from_pretrained(source, trust_remote_code=False).eval()
    processor = AutoImageProcessor.from_pretrained(source, trust_remote_code=False)
    config = network.config.to_dict()
    labels = network.config.id2label
    return ImportedNetwork(
        network=network,
        name=config.pop("model_type"),
        arguments={key: value for key, value in config.items() if key not in ("transformers_version", "_name_or_path")},
        input_spec=input_spec(processor),
        classes=tuple(labels[index] for index in range(len(labels))),
    )


def input_spec(processor: Any) -> InputSpec:
    """The input spec out of an image processor that resizes, centre-crops or not, and normalises.

    Raises UnsupportedError for one that does less, more, or otherwise.
    """
    missing = [step for step in ("do_resize", "do_rescale", "do_normalize") if not getattr(processor, step, True)]
    if missing or abs(processor.rescale_factor * 255 - 1) > 1e-6:
        raise UnsupportedError(f"image processor without {missing}, scaling by {processor.rescale_factor}")
    size = dict(processor.size)
    mean, std = tuple(processor.image_mean), tuple(processor.image_std)
    interpolation = Image.Resampling(int(processor.resample)).name.lower()
    if interpolation not in RESAMPLING:
        raise UnsupportedError(f"image processor with interpolation {interpolation} is not supported")
    if "height" in size:
        height, width = size["height"], size["width"]
        return InputSpec(height, width, min(height, width), interpolation, mean, std, fit="squash")
    crop = processor.crop_size if getattr(processor, "do_center_crop", False) else None
    if crop is None or "shortest_edge" not in size:
        raise UnsupportedError(f"image processor with size {size} and crop {crop} is not supported")
    return InputSpec(crop["height"], crop["width"], size["shortest_edge"], interpolation, mean, std)


def cut(network: nn.Module) -> Backbone:
    head = getattr(network, "classifier", None)
    # ResNet and RegNet flatten the pooled features as the first step of their classifier.
    return cut_at(network, head[-1] if isinstance(head, nn.Sequential) else head, output=_logits)


def _logits(output: Any) -> Tensor:
    logits: Tensor = output.logits
    return logits


KIND = BackboneKind(build=build, load=load, cut=cut)
