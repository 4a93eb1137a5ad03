"""Plans that make no sense are refused, and the order of training follows from the plan."""

import numpy as np
import pytest

from models.feature_cache.view_order import ViewOrder
from models.feature_cache.view_plan import ViewPlan


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"count": 0}, "count must be at least 1"),
        ({"seed": -1}, "seed must lie in"),
        ({"scale": (0.5, 0.1)}, "scale must be two rising shares"),
        ({"scale": (0.0, 1.0)}, "scale must be two rising shares"),
        ({"flip": 1.1}, "flip and jitter"),
        ({"jitter": -0.1}, "flip and jitter"),
    ],
)
def test_a_plan_without_sense(changed, told):
    with pytest.raises(ValueError, match=told):
        ViewPlan(**({"count": 2, "seed": 0} | changed))


def test_each_pass_shows_every_image_once_in_an_order_of_its_own():
    order = ViewOrder(ViewPlan(count=4, seed=3), 50)
    positions = order.positions(0, order.total).reshape(4, 50)
    assert order.total == 200
    assert np.array_equal(np.sort(positions, axis=1), np.tile(np.arange(50), (4, 1)))
    assert len({tuple(each) for each in positions.tolist()}) == 4
    assert order.numbers(0, 200).reshape(4, 50).tolist() == [[number] * 50 for number in range(4)]


def test_a_slice_is_part_of_the_whole():
    order = ViewOrder(ViewPlan(count=4, seed=3), 7)
    whole = order.positions(0, 28)
    for start, stop in ((0, 1), (5, 9), (6, 22), (27, 28), (3, 3)):
        assert np.array_equal(order.positions(start, stop), whole[start:stop])


def test_another_seed_another_order():
    first, other = (ViewOrder(ViewPlan(count=1, seed=seed), 50).positions(0, 50) for seed in (0, 1))
    assert not np.array_equal(first, other)
