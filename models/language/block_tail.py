"""What follows the attention of a language model's last block at one token: the layers that gradients are taken of.

In the last block only attention mixes tokens. What comes after it, the output projection, the feed-forward part and the
final norm, acts on each token alone, so it can be run again for the token that is read, without those before it.
"""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from models.core.errors import UnsupportedError
from models.language import anatomy
from models.language.token_tree import Nodes, TokenTree, token_tree
from models.language.tree_forward import BUDGET, PROBE, chosen_rows, forward

PROJECTIONS = ("self_attn.o_proj", "self_attn.dense", "attention.dense", "attn.c_proj", "attn.out_proj")
NORMS = ("post_attention_layernorm", "ln_2", "input_layernorm", "ln_1")
TOLERANCE, OF_BFLOAT16 = 1e-4, 0.05  # of the largest state


@dataclass(frozen=True, slots=True)
class TailReads:
    """What the tail read at each of R tokens: the heads' outputs (R, A), and the block's input (R, D)."""

    attended: Tensor
    residual: Tensor

    def take(self, rows: Tensor) -> "TailReads":
        return TailReads(self.attended[rows], self.residual[rows])


class BlockTail(nn.Module):
    """The network's own modules, one row a token.

    `parallel` where the feed-forward part reads the block's input: its norm is then no layer of the tail, since
    attention may read through it too.
    """

    def __init__(self, network: Any, projection: nn.Module, norm: nn.Module, parallel: bool) -> None:
        super().__init__()
        self.projection = projection
        self.norm = None if parallel else norm
        self._input_norm: Callable[[Tensor], Tensor] = norm.__call__  # a bound method is no submodule
        self.feed_forward: nn.Module = anatomy.blocks(network)[-1].get_submodule("mlp")
        self.final_norm = anatomy.final_norm(network)

    def forward(self, reads: TailReads) -> Tensor:
        """(R, D): what the unembedding reads."""
        after = reads.residual + self.projection(reads.attended)
        fed = self._input_norm(reads.residual) if self.norm is None else self.norm(after)
        states: Tensor = self.final_norm(after + self.feed_forward(fed))
        return states


class TailWatch:
    """Hooks that stand on the network for good, and keep what its tail reads in a thread that asks for it."""

    def __init__(self, network: Any, projection: nn.Module) -> None:
        self._network = network
        self._open = threading.local()
        read = {"attended": projection, "residual": anatomy.blocks(network)[-1]}
        self._hooks = [
            module.register_forward_pre_hook(self._keeper(name), with_kwargs=True) for name, module in read.items()
        ]

    def remove(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def states_at(self, tree: TokenTree, nodes: Nodes, budget: int = BUDGET) -> tuple[Tensor, TailReads]:
        """What the unembedding reads at R distinct nodes in ascending order (R, D), and what the tail read there."""
        parts = []
        with self._seen() as seen:
            for first, last, states in forward(self._network, tree, budget):
                rows = chosen_rows(nodes, first, last)
                parts.append((states[rows], seen["attended"][0, rows], seen["residual"][0, rows]))
        states, attended, residual = (torch.cat(each) for each in zip(*parts, strict=True))
        return states, TailReads(attended, residual)

    @contextmanager
    def _seen(self) -> Iterator[dict[str, Tensor]]:
        self._open.seen = seen = dict[str, Tensor]()
        try:
            yield seen
        finally:
            self._open.seen = None

    def _keeper(self, name: str) -> Any:
        def keep(_: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
            seen = getattr(self._open, "seen", None)
            if seen is not None:
                seen[name] = inputs[0] if inputs else next(iter(named.values()))

        return keep


def block_tail(network: Any) -> tuple[BlockTail, TailWatch, TailReads]:
    """The tail, what watches it, and what it read at a few tokens.

    Raises UnsupportedError unless it computes for them what the network computes.
    """
    block = anatomy.blocks(network)[-1]
    projections, norms = (_submodules(block, names) for names in (PROJECTIONS, NORMS))
    if not projections or not norms or not _submodules(block, ["mlp"]):
        raise UnsupportedError(f"{network.config.model_type}: the parts of its last block are not known")
    watch = TailWatch(network, projections[0])
    tree = token_tree([[token % network.config.vocab_size for token in PROBE[-1]]])
    states, reads = watch.states_at(tree, tree.paths[0])
    tails = [BlockTail(network, projections[0], norm, parallel) for norm, parallel in product(norms, (False, True))]
    apart = [_distance(tail, reads, states) for tail in tails]
    tolerance = OF_BFLOAT16 if network.dtype == torch.bfloat16 else TOLERANCE
    if min(apart) > tolerance * float(states.abs().max()):
        watch.remove()
        raise UnsupportedError(f"{network.config.model_type}: its last block computes something else than is known")
    return tails[apart.index(min(apart))], watch, reads


def _distance(tail: BlockTail, reads: TailReads, states: Tensor) -> float:
    """Infinite for one that does not take rows of single tokens, as a mixture of experts may not."""
    with torch.inference_mode():
        try:
            return float((tail(reads) - states).abs().max())
        except (TypeError, ValueError, RuntimeError, IndexError):
            return math.inf


def _submodules(block: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    there = dict(block.named_modules())
    return [there[name] for name in names if name in there]
