"""Numbers that follow from a key: as published, even, and never different."""

import numpy as np
import pytest

from models.feature_cache.counted_noise import GOLDEN, _mixed, permutation, uniforms

FIXED = ([2, 4, 5, 0, 1, 3], [0.596986, 0.924705])


def test_the_mixing_function_is_splitmix64():
    """The first outputs of SplitMix64 for seed 0, as published with its reference code."""
    words = _mixed(GOLDEN * np.arange(1, 4, dtype=np.uint64))
    assert [int(word) for word in words] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_numbers_stay_what_they_were():
    """Stored caches rely on it."""
    assert uniforms((7, 3, 1), 2).tolist() == uniforms((7, 3, 1), 5)[:2].tolist()
    assert permutation((5, 0), 6).tolist() == permutation((5, 0), 6).tolist()
    assert (permutation((5, 0), 6).tolist(), [round(float(draw), 6) for draw in uniforms((7, 3, 1), 2)]) == FIXED


def test_numbers_are_even_and_not_related():
    draws = np.stack([uniforms((0, image, 0), 40) for image in range(500)])
    assert 0 <= draws.min() < draws.max() < 1
    assert draws.mean() == pytest.approx(0.5, abs=0.01)
    assert draws.std() == pytest.approx(12**-0.5, abs=0.01)
    assert np.abs(np.corrcoef(draws.T) - np.eye(40)).max() < 0.25
    assert len(np.unique(draws)) == draws.size


def test_a_permutation_has_every_number_once():
    orders = [permutation((1, number), 1000) for number in range(3)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(1000))
    assert not np.array_equal(orders[0], orders[1])
    assert permutation((0,), 1).tolist() == [0]
