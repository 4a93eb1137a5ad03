"""Learning rates: from the first step to the last, of every schedule."""

import math
from itertools import pairwise

import pytest

from models.training.classifier.schedules import FIRST_RATE, SCHEDULES, rate_share


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_rate_rises_in_a_straight_line_and_is_whole_after_the_warm_up(schedule):
    shares = [rate_share(schedule, 0.2, step, 50) for step in range(11)]
    assert shares[0] == FIRST_RATE
    assert shares[10] == 1
    assert [later - earlier for earlier, later in pairwise(shares)] == pytest.approx([0.096] * 10)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1, 1, 1, 1]),
        ("linear", [1, 0.75, 0.5, 0.25]),
        ("cosine", [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
        ("drops", [1, 1, 0.1, 0.01]),
    ],
)
def test_the_rate_after_quarters_of_the_steps(schedule, expected):
    assert [rate_share(schedule, 0.0, step, 4) for step in range(4)] == pytest.approx(expected)


@pytest.mark.parametrize("warm_up", [0.0, 0.1, 0.99])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_the_rate_is_above_nothing_at_every_step_however_few(schedule, warm_up, steps):
    assert all(0 < rate_share(schedule, warm_up, step, steps) <= 1 for step in range(steps))
