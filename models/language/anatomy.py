"""Where a causal language model of transformers has its blocks, its final norm and its unembedding."""

from typing import Any

from torch import nn

from models.core.errors import UnsupportedError

FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm")


def blocks(network: Any) -> nn.ModuleList:
    """The transformer blocks in forward order. Raises UnsupportedError where they are not one list of modules."""
    return _owner_and_blocks(network)[1]


def final_norm(network: Any) -> nn.Module:
    """What stands between the last block and the unembedding. Raises UnsupportedError where none is found."""
    owner, _ = _owner_and_blocks(network)
    for name in FINAL_NORMS:
        module = getattr(owner, name, None)
        if isinstance(module, nn.Module):
            return module
    raise UnsupportedError(f"{network.config.model_type}: no final norm beside the blocks (looked for {FINAL_NORMS})")


def unembedding(network: Any) -> nn.Linear:
    """The layer that makes logits of hidden states. Raises UnsupportedError where that is not one linear layer."""
    module = network.get_output_embeddings()
    if not isinstance(module, nn.Linear):
        raise UnsupportedError(f"{network.config.model_type}: the logits do not come from one linear layer")
    return module


def _owner_and_blocks(network: Any) -> tuple[nn.Module, nn.ModuleList]:
    count = network.config.num_hidden_layers
    for owner in network.base_model.modules():
        for module in owner.children():
            if isinstance(module, nn.ModuleList) and len(module) == count:
                return owner, module
    raise UnsupportedError(f"{network.config.model_type}: no list of {count} blocks in the network")
