"""The registry of libraries that networks come from. Adding one is one file and one line here."""

from models.backbones import from_timm, from_torchvision, from_transformers, own
from models.backbones.backbone import Backbone, BackboneKind, ImportedNetwork, check_cut
from models.core.errors import UnknownNameError

__all__ = ["BACKBONES", "Backbone", "BackboneKind", "ImportedNetwork", "backbone_kind", "check_cut"]

BACKBONES: dict[str, BackboneKind] = {
    "timm": from_timm.KIND,
    "torchvision": from_torchvision.KIND,
    "transformers": from_transformers.KIND,
    "howsure": own.KIND,
}


def backbone_kind(name: str) -> BackboneKind:
    """Raises UnknownNameError."""
    if name not in BACKBONES:
        raise UnknownNameError("backbone kind", name, BACKBONES)
    return BACKBONES[name]
