"""The order of training: pass after pass over all images, each in an order of its own."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from models.feature_cache.counted_noise import permutation
from models.feature_cache.view_plan import ViewPlan


class ViewOrder:
    """Row r shows view r // images of an image; which one follows from the plan's seed and that number."""

    def __init__(self, plan: ViewPlan, images: int) -> None:
        self.plan = plan
        self.images = images

    @property
    def total(self) -> int:
        return self.plan.count * self.images

    def positions(self, start: int, stop: int) -> NDArray[np.int64]:
        """(stop - start,): which image each row shows."""
        found = np.empty(stop - start, np.int64)
        row = start
        while row < stop:
            number, place = divmod(row, self.images)
            end = min(stop, (number + 1) * self.images)
            found[row - start : end - start] = _order(self.plan.seed, number, self.images)[place : place + end - row]
            row = end
        return found

    def numbers(self, start: int, stop: int) -> NDArray[np.int64]:
        """(stop - start,): which view of its image each row shows, counted from 0."""
        return np.arange(start, stop) // self.images


@lru_cache(maxsize=2)
def _order(seed: int, number: int, images: int) -> NDArray[np.int64]:
    return permutation((seed, number), images)
