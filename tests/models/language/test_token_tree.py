import random

import numpy as np
import pytest

from models.language.token_tree import token_tree


def made(count, seed):
    """Sequences of three tokens only, so that they begin alike in many ways, some twice and some inside others."""
    random.seed(seed)
    found = [[random.randrange(3) for _ in range(random.randrange(1, 14))] for _ in range(count)]
    return [*found, found[0], found[0][:1]]


def test_equal_beginnings_are_one_path():
    tree = token_tree([[5, 6, 7], [5, 6], [5, 8], [5, 6, 7]])
    assert len(tree.tokens) == 4
    assert tree.paths[0].tolist() == tree.paths[3].tolist()
    assert tree.paths[1].tolist() == tree.paths[0][:2].tolist()
    assert tree.paths[2][0] == tree.paths[0][0]


@pytest.mark.parametrize("seed", range(5))
def test_a_path_spells_its_sequence_and_sees_nothing_else(seed):
    sequences = made(20, seed)
    tree = token_tree(sequences)
    assert len(tree.tokens) == len({tuple(each[: k + 1]) for each in sequences for k in range(len(each))})
    for sequence, path in zip(sequences, tree.paths, strict=True):
        assert tree.tokens[path].tolist() == sequence
        assert tree.depths[path].tolist() == list(range(len(sequence)))
        end = path[-1]
        seen = [node for node in range(end + 1) if end < tree.ends[node]]
        assert seen == path.tolist()


@pytest.mark.parametrize("budget", [1, 2, 3, 7, 20, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_stretches_cover_the_tree_in_order_and_go_on_from_the_path_that_was_kept(seed, budget):
    tree = token_tree(made(30, seed))
    stretches = list(tree.stretches(budget))
    assert [first for first, _ in stretches[1:]] == [last for _, last in stretches[:-1]]
    assert (stretches[0][0], stretches[-1][1]) == (0, len(tree.tokens))
    kept = np.empty(0, np.int64)
    for first, last in stretches:
        assert 0 < last - first <= budget
        kept = kept[: tree.depths[first]]
        for node in range(first, last):
            before = [other for other in range(node) if node < tree.ends[other]]
            assert [other for other in before if other < first] == kept.tolist()
        kept = np.concatenate([kept, np.arange(first, last)])


def test_what_many_share_is_a_stretch_of_its_own():
    shared = list(range(10))
    tree = token_tree([[*shared, 20 + k, 30 + k, 40 + k] for k in range(4)])
    assert list(tree.stretches(6)) == [(0, 6), (6, 10), (10, 16), (16, 22)]
