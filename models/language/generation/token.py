"""What generation gives: tokens with their log-probabilities, and why a sequence ended."""

from dataclasses import dataclass
from enum import StrEnum


class Finish(StrEnum):
    """Why a sequence ended."""

    STOP = "stop"  # the model ended it, or a stop string came
    LENGTH = "length"  # as many tokens as were asked for, or as the context holds
    BROKEN = "broken"  # the network gave no finite probabilities


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token that could have come; `log_probability` in nats, `content` its bytes as they would stand in the text."""

    id: int
    content: bytes
    log_probability: float


@dataclass(frozen=True, slots=True)
class Token:
    """A token of an answer.

    `log_probability` and `entropy` (nats) are of the network's own distribution over the whole vocabulary, before
    temperature and top_p; `alternatives` are its most probable tokens, first the likeliest. `calibrated` is its
    log-probability by the temperature that the version was calibrated with, and the same where there is none. `text` is
    what the token adds to the answer: nothing for one that ends within a character, whose bytes come with the token
    that completes it.
    """

    id: int
    content: bytes
    log_probability: float
    entropy: float
    calibrated: float
    alternatives: tuple[Alternative, ...] = ()
    text: str = ""
