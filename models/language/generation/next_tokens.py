"""From final states to the next token of every sequence."""

import math
from collections.abc import Iterator
from collections.abc import Sequence as Several

import torch
from torch import Tensor, nn

from models.language.generation.sampling import draw
from models.language.generation.sequence import Sequence
from models.language.generation.token import Alternative, Token
from models.language.generation.token_bytes import TokenBytes


def next_tokens(
    unembedding: nn.Linear,
    states: Tensor,
    sequences: Several[Sequence],
    content: TokenBytes,
    temperature: float | None = None,
) -> Iterator[Token | None]:
    """The token after each of states (B, D), by the sampling of its sequence; None where the logits are not finite.

    `temperature` is that of calibrated tokens, if any; it changes no choice.
    """
    logits = unembedding(states).float()
    own = logits.log_softmax(dim=1)
    chosen = _choose(logits, sequences)
    places = torch.tensor(chosen, device=own.device)[:, None]
    values = own.gather(1, places)[:, 0].tolist()
    calibrated = values if temperature is None else _tempered(logits, places, temperature)
    entropies = torch.linalg.vecdot(own.exp(), own).neg().tolist()
    best = _best(own, sequences, content)
    for row, token in enumerate(chosen):
        made = Token(token, content.of(token), values[row], entropies[row], calibrated[row], best[row])
        yield made if math.isfinite(entropies[row]) else None


def _tempered(logits: Tensor, places: Tensor, temperature: float) -> list[float]:
    divided = logits / temperature
    found: list[float] = (divided.gather(1, places)[:, 0] - divided.logsumexp(dim=1)).tolist()
    return found


def _choose(logits: Tensor, sequences: Several[Sequence]) -> list[int]:
    chosen: list[int] = logits.argmax(dim=1).tolist()
    for row, sequence in enumerate(sequences):
        if sequence.sampling.temperature > 0:
            chosen[row] = draw(logits[row], sequence.sampling, sequence.generator)
    return chosen


def _best(own: Tensor, sequences: Several[Sequence], content: TokenBytes) -> list[tuple[Alternative, ...]]:
    most = max(sequence.sampling.alternatives for sequence in sequences)
    if not most:
        return [()] * len(sequences)
    values, tokens = (each.tolist() for each in own.topk(min(most, own.shape[1]), dim=1))
    return [
        tuple(
            Alternative(token, content.of(token), value)
            for token, value in list(zip(tokens[row], values[row], strict=True))[: sequence.sampling.alternatives]
        )
        for row, sequence in enumerate(sequences)
    ]
