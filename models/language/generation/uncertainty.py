"""How sure a model was of an answer, by the probabilities of its tokens."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from models.language.generation.token import Token


@dataclass(frozen=True, slots=True)
class AnswerUncertainty:
    """In nats and probabilities; means are over tokens.

    Log-probabilities and entropy are the network's own. `confidence` is the geometric mean of the tokens' calibrated
    probabilities (length-normalised sequence probability: Malinin and Gales 2021, arXiv 2002.07650, 3), and
    `lowest_confidence` the least of them. The token that ends an answer is not counted. All but the sum are None for an
    answer without tokens.
    """

    log_probability: float
    mean_log_probability: float | None
    confidence: float | None
    mean_entropy: float | None
    lowest_confidence: float | None


def answer_uncertainty(tokens: Sequence[Token]) -> AnswerUncertainty:
    total = math.fsum(token.log_probability for token in tokens)
    if not tokens:
        return AnswerUncertainty(total, None, None, None, None)
    mean = total / len(tokens)
    return AnswerUncertainty(
        log_probability=total,
        mean_log_probability=mean,
        confidence=math.exp(math.fsum(token.calibrated for token in tokens) / len(tokens)),
        mean_entropy=math.fsum(token.entropy for token in tokens) / len(tokens),
        lowest_confidence=math.exp(min(token.calibrated for token in tokens)),
    )
