"""Networks for other classes than they were built for: their arguments, and a new head on a trained trunk."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from models.backbones import backbone_kind
from models.core.errors import CheckpointError
from models.training.classifier.initial import AS_BUILT, initial_network
from models.training.classifier.scope import head_name

OF_CLASSES = {"transformers": ("num_labels", "id2label", "label2id")}  # the first is set, the others left out
SIDES = {("howsure", "perceptron"): "side"}  # networks that are built for one size of image


def arguments_for(kind: str, name: str, arguments: Mapping[str, Any], classes: int, side: int) -> dict[str, Any]:
    """Those to build the network with; the number of classes replaces the one given, the size does not."""
    count, *others = OF_CLASSES.get(kind, ("num_classes",))
    kept = {key: value for key, value in arguments.items() if key not in others}
    sized = {SIDES[kind, name]: side} if (kind, name) in SIDES else {}
    return sized | kept | {count: classes}


def with_new_head(kind: str, name: str, arguments: dict[str, Any], state: Mapping[str, Tensor], seed: int) -> nn.Module:
    """The trunk has the weights of `state`, the last linear layer those that its library draws; in eval mode.

    Raises CheckpointError where `state` is of another network, UnsupportedError for one that cannot be cut.
    """
    network = initial_network(kind, name, arguments, AS_BUILT, seed)
    head = head_name(network, backbone_kind(kind).cut)
    own = {key: value for key, value in network.state_dict().items() if key.startswith(f"{head}.")}
    try:
        network.load_state_dict({**state, **own}, strict=True)
    except RuntimeError as error:
        raise CheckpointError(f"the weights do not fit {kind} {name}: {error}") from error
    return network
