"""Forward passes over a tree of tokens: every node once, whatever the number of sequences through it.

Several branches go through the network as one row. A mask lets a token attend to its own ancestors only, and positions
count from the beginning of its sequence, so nothing is padded and no key or value is copied for a sibling.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.core.errors import UnsupportedError
from models.language.anatomy import unembedding
from models.language.token_tree import Nodes, TokenTree, token_tree

BUDGET = 256  # tokens of one forward pass. Ours: about the fastest of 128 to 4096 on one core, and bounds the memory
PROBE = ((3, 5, 7, 11, 2), (3, 5, 7, 4), (3, 5, 9, 6, 8, 10))
PROBE_BUDGET = 4  # cuts the probe into a common beginning and two ranges


def states_at(network: Any, tree: TokenTree, nodes: Nodes, budget: int = BUDGET) -> Tensor:
    """(R, D) in the network's precision: what the unembedding reads at each of R distinct nodes in ascending order."""
    found = forward(network, tree, budget)
    return torch.cat([states[chosen_rows(nodes, first, last)] for first, last, states in found])


def chosen_rows(nodes: Nodes, first: int, last: int) -> Tensor:
    """Which rows of a range [first, last) hold some of the ascending `nodes`."""
    low, high = np.searchsorted(nodes, (first, last))
    return torch.from_numpy(nodes[low:high] - first)


def forward(network: Any, tree: TokenTree, budget: int = BUDGET) -> Iterator[tuple[int, int, Tensor]]:
    """Ranges of nodes in order, each with the final states (last - first, D) of its nodes.

    One range's keys and values stay only as long as later ranges need them.
    """
    cache = _empty_cache(network)
    for first, last in tree.stretches(budget):
        depth = int(tree.depths[first])
        _cut(cache, depth)
        with torch.inference_mode():
            states = network.base_model(
                input_ids=_row(network, tree.tokens[first:last]),
                position_ids=_row(network, tree.depths[first:last]),
                attention_mask=_mask(network, tree.ends[first:last] - first, depth),
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state[0]
        yield first, last, states


def check_tree_forward(network: Any) -> None:
    """Raises UnsupportedError unless a small tree gives the logits that the network gives for each sequence alone.

    Refuses so what would be wrong without a sign: attention that only sees a window, positions that do not come from
    the position numbers, logits that are changed after the unembedding.
    """
    sequences = [[token % network.config.vocab_size for token in sequence] for sequence in PROBE]
    tree = token_tree(sequences)
    nodes = np.unique(np.concatenate(tree.paths))
    with torch.inference_mode():
        expected = [network(input_ids=_row(network, np.array(sequence))).logits[0].float() for sequence in sequences]
        try:
            states = states_at(network, tree, nodes, PROBE_BUDGET)
        except (TypeError, ValueError, RuntimeError, IndexError) as error:
            raise UnsupportedError(f"{network.config.model_type} cannot be asked along a tree: {error}") from error
        found = unembedding(network)(states).float()
    tolerance = 1e-4 if network.dtype == torch.float32 else 0.05
    for path, logits in zip(tree.paths, expected, strict=True):
        if (found[path] - logits).abs().max() > tolerance * logits.abs().max():
            raise UnsupportedError(f"{network.config.model_type} gives other logits along a tree than for plain text")


def _empty_cache(network: Any) -> Any:
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    cache = DynamicCache(config=network.config)
    if any(type(layer) is not DynamicLayer for layer in cache.layers):
        raise UnsupportedError(f"{network.config.model_type} does not attend to the whole context in every layer")
    return cache


def _cut(cache: Any, depth: int) -> None:
    for layer in cache.layers:
        if layer.is_initialized:
            layer.keys, layer.values = layer.keys[..., :depth, :], layer.values[..., :depth, :]


def _row(network: Any, values: Nodes) -> Tensor:
    return torch.from_numpy(values)[None].to(network.device)


def _mask(network: Any, ends: Nodes, depth: int) -> Tensor:
    """(1, 1, q, depth + q), added to attention: 0 for the path that is cached and for ancestors in the range."""
    places = np.arange(len(ends))
    seen = (places[None] <= places[:, None]) & (places[:, None] < ends[None])
    allowed = torch.from_numpy(np.pad(seen, ((0, 0), (depth, 0)), constant_values=True)).to(network.device)
    added = torch.zeros(allowed.shape, dtype=network.dtype, device=network.device).masked_fill_(~allowed, -torch.inf)
    return added[None, None]
