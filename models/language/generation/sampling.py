"""How the next token is chosen."""

import secrets
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.core.errors import DataError

MOST_ALTERNATIVES, MOST_STOPS = 20, 4  # as in OpenAI's interface
COLDEST = 1e-300  # Ours: the reciprocal, by which a GPU may multiply, is finite


@dataclass(frozen=True, slots=True)
class Sampling:
    """What is asked of one prompt's answers.

    `temperature` 0 takes the most probable token. `top_p` keeps the smallest set of tokens that has this much of the
    probability (nucleus sampling, Holtzman et al. 2020, arXiv 1904.09751, 3.1). Equal seeds give equal answers in
    float32; in bfloat16 up to rounding, which the company may change. An answer ends before the first of `stops`.
    Raises DataError for values that mean nothing.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stops: tuple[str, ...] = ()
    alternatives: int = 0

    def __post_init__(self) -> None:
        checks = {
            "max_tokens is at least 1": self.max_tokens >= 1,
            "temperature is at least 0": 0 <= self.temperature < float("inf"),
            "top_p is between 0 and 1": 0 <= self.top_p <= 1,
            f"at most {MOST_STOPS} stop strings, none of them empty": len(self.stops) <= MOST_STOPS and all(self.stops),
            f"alternatives are 0 to {MOST_ALTERNATIVES}": 0 <= self.alternatives <= MOST_ALTERNATIVES,
        }
        if failed := [rule for rule, holds in checks.items() if not holds]:
            raise DataError(f"this cannot be generated: {'; '.join(failed)}")

    def generator(self, number: int) -> torch.Generator:
        """Random numbers of a prompt's answer of this number; always on the CPU, so that every device draws alike."""
        seed = secrets.randbits(64) if self.seed is None else self.seed % 2**64
        (state,) = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(state))


def draw(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """A token by logits (V,), at a temperature above 0.

    One random number picks a place in the cumulative distribution, so rounding of the logits hardly ever changes it.
    """
    probabilities = ((logits.double() - logits.max()) / max(sampling.temperature, COLDEST)).softmax(dim=0)
    if sampling.top_p < 1:
        probabilities = _nucleus(probabilities, sampling.top_p)
    cumulative = probabilities.cumsum(dim=0)
    place = torch.rand((), generator=generator, dtype=torch.float64).to(logits.device) * cumulative[-1]
    # To the right of equal values: a token without probability never comes.
    return min(int(torch.searchsorted(cumulative, place, right=True)), len(logits) - 1)


def _nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    ordered, tokens = probabilities.sort(descending=True, stable=True)
    before = ordered.cumsum(dim=0) - ordered
    before[0] = -1.0  # the most probable token always stays
    return torch.zeros_like(probabilities).index_copy_(0, tokens, ordered.where(before < top_p, 0))
