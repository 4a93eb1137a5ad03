"""Learning rates over a training: share of the highest rate, by the share of the steps that are done."""

import math
from collections.abc import Callable

FIRST_RATE = 0.04  # of the highest one, where it begins to rise
# Of the steps after the warm-up; 150 and 250 of 350 epochs in the recipe of arXiv 2002.09437, which has none.
DROPS = (0.43, 0.71)

# Share in [0, 1) of the steps after the warm-up → share of the highest rate.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "linear": lambda done: 1 - done,
    "drops": lambda done: 0.1 ** sum(done >= drop for drop in DROPS),
}


def rate_share(schedule: str, warm_up: float, step: int, steps: int) -> float:
    """Of step 0 .. steps - 1: up in a straight line for a share `warm_up` of the steps, then as the schedule says."""
    warm_steps = round(warm_up * steps)
    if step < warm_steps:
        return FIRST_RATE + (1 - FIRST_RATE) * step / warm_steps
    return SCHEDULES[schedule]((step - warm_steps) / (steps - warm_steps))
