"""How many prompts go through the network together: what a budget of tokens has room for."""

from collections.abc import Sequence

import numpy as np

from app.scoring.prompt_predictor import PromptWork


def fitting(works: Sequence[PromptWork], budget: int) -> int:
    """How many of the first works, at least one of any; what a prompt begins with as the one before it counts once."""
    tokens = 0
    for count, work in enumerate(works):
        tokens += work.tokens - (_common(works[count - 1], work) if count else 0)
        if count and tokens > budget:
            return count
    return len(works)


def _common(one: PromptWork, other: PromptWork) -> int:
    length = min(len(one.prompt), len(other.prompt))
    differ = np.flatnonzero(one.prompt[:length] != other.prompt[:length])
    return int(differ[0]) if len(differ) else length
