"""Token sequences with equal beginnings as one tree, so that what several have in common is computed once.

Nodes are numbered in the order of a walk that finishes one branch before the next: the descendants of a node follow it
without a gap, and `ends` tells where they stop. Node j is an ancestor of node i, or i itself, where
j <= i < ends[j]; a token attends to those nodes and to no other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Nodes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TokenTree:
    """`tokens`, `depths` (place in the sequence, from 0) and `ends`, each (M,); `paths` are the nodes of each sequence.

    `starts` and `shared` are of the walk: sequence number k of it adds nodes from starts[k], and has
    shared[k] tokens in common with the one before.
    """

    tokens: Nodes
    depths: Nodes
    ends: Nodes
    paths: tuple[Nodes, ...]
    starts: tuple[int, ...]
    shared: tuple[int, ...]

    def stretches(self, budget: int) -> Iterator[tuple[int, int]]:
        """Node ranges [first, last) of at most `budget` nodes that cover the tree in order.

        A range continues the path of nodes that leads to its first one: its other nodes attend to that path and to each
        other only. So a common beginning comes as ranges of its own wherever what follows does not fit beside it.
        """
        yield from self._stretches(0, len(self.starts), 0, budget)

    def _stretches(self, low: int, high: int, depth: int, budget: int) -> Iterator[tuple[int, int]]:
        """Of sequences low..high of the walk, which have `depth` tokens in common that were dealt with before."""
        first, last = self.starts[low] + depth - self.shared[low], self._stop(high)
        if last - first <= budget:
            if last > first:
                yield first, last
            return
        common = min(self.shared[low + 1 : high], default=depth + last - first)
        chain = first + common - depth
        yield from ((start, min(start + budget, chain)) for start in range(first, chain, budget))
        if chain < last:
            yield from self._branches(low, high, common, budget)

    def _branches(self, low: int, high: int, depth: int, budget: int) -> Iterator[tuple[int, int]]:
        """Neighbouring branches share a range as long as they fit; one that is too large alone is cut in itself."""
        cuts = [low, *(k for k in range(low + 1, high) if self.shared[k] == depth), high]
        first = last = self.starts[low] + depth - self.shared[low]
        for begin, end in pairwise(cuts):
            stop = self._stop(end)
            if stop - first > budget and last > first:
                yield first, last
                first = last
            if stop - first > budget:
                yield from self._stretches(begin, end, depth, budget)
                first = stop
            last = stop
        if last > first:
            yield first, last

    def _stop(self, walk: int) -> int:
        return self.starts[walk] if walk < len(self.starts) else len(self.tokens)


def token_tree(sequences: Sequence[Sequence[int]]) -> TokenTree:
    """The tree of at least one sequence; equal ones share all of their nodes."""
    order = sorted(range(len(sequences)), key=lambda place: list(sequences[place]))
    tokens, depths, ends = list[int](), list[int](), list[int]()
    paths: dict[int, Nodes] = {}
    starts, shared = [], []
    path, previous = np.empty(0, np.int64), list[int]()
    for place in order:
        sequence = list(sequences[place])
        common, start = _common(previous, sequence), len(tokens)
        for node in path[common:].tolist():
            ends[node] = start
        tokens += sequence[common:]
        depths += range(common, len(sequence))
        ends += [0] * (len(sequence) - common)
        path = np.concatenate([path[:common], np.arange(start, len(tokens))])
        paths[place], previous = path, sequence
        starts.append(start)
        shared.append(common)
    for node in path.tolist():
        ends[node] = len(tokens)
    return TokenTree(
        tokens=np.array(tokens, np.int64),
        depths=np.array(depths, np.int64),
        ends=np.array(ends, np.int64),
        paths=tuple(paths[place] for place in range(len(sequences))),
        starts=tuple(starts),
        shared=tuple(shared),
    )


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    limit = min(len(one), len(other))
    return next((place for place in range(limit) if one[place] != other[place]), limit)
