"""Backbone weights out of an installed Python package, converted once into the store's safetensors form."""

import hashlib
import io
from importlib.resources import files

import safetensors.torch
import torch
from torch import Tensor

from models.backbones import backbone_kind
from models.core.errors import CheckpointError
from models.core.manifest import BackboneRecord, WeightsOrigin


def package_weights(record: BackboneRecord) -> dict[str, Tensor]:
    """The state dict of the record's network, read from its origin.

    The file's tensors are taken in the order of the network's own, whatever their names; every shape must agree. One
    in safetensors form is read by name. A pickle is opened only after its hash was checked, and by torch's weights-only
    reader.
    """
    if record.origin is None:
        raise CheckpointError(f"{record.name}: the manifest names no package that the weights come from")
    content = _verified(record.origin)
    if record.origin.file.endswith(".safetensors"):
        found: dict[str, Tensor] = safetensors.torch.load(content)
        return found
    stored = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    network = backbone_kind(record.kind).build(record.name, record.arguments)
    own = network.state_dict()
    shapes = [tuple(value.shape) for value in own.values()]
    if shapes != [tuple(value.shape) for value in stored.values()]:
        raise CheckpointError(f"{record.origin.file} does not have the {len(shapes)} tensors of {record.name} in order")
    return dict(zip(own, stored.values(), strict=True))


def _verified(origin: WeightsOrigin) -> bytes:
    try:
        content = files(origin.package).joinpath(origin.file).read_bytes()
    except (ModuleNotFoundError, OSError) as error:
        package = origin.package.replace("_", "-")
        raise CheckpointError(f"weights are in the package {package}, which is not installed: {error}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != origin.sha256:
        raise CheckpointError(f"{origin.package}/{origin.file} has sha256 {found}, expected {origin.sha256}")
    return content
