"""A temperature for the tokens of free answers (Guo et al. 2017, arXiv 1706.04599, over the whole vocabulary).

It is fitted on reference answers: a token is right where it is the one that came, given that all before it were.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.calibration.temperature import LARGEST, SMALLEST, least_loss, row_derivatives
from models.core.errors import DataError
from models.language.read_tokens import ReadTokens
from models.metrics.calibration import expected_calibration_error, noise_floor

NEAR = 1e-4  # the change of log T at which the search is done. Ours
FEWEST_TOKENS = 100  # to fit on, or to judge by. Ours
AT_LIMIT = 1.05  # nearer to a limit than by this factor the fit has run into it


@dataclass(frozen=True, slots=True)
class TokenFigures:
    """Over T tokens: `confidence` is the mean probability of the likeliest token, `accuracy` the share of those that
    came, `nll` in nats a token, `ece` of 15 bins, and `ece_floor` what perfect calibration would read.
    """

    tokens: int
    accuracy: float
    confidence: float
    nll: float
    ece: float
    ece_floor: float


def fit_token_temperature(unembedding: nn.Linear, read: ReadTokens) -> float:
    """T in [1/50, 50] at the minimum of the NLL of softmax(z / T).

    Raises DataError for fewer than 100 tokens, and where the minimum lies at a limit: answers that the model never, or
    always, has as its likeliest tell nothing.
    """
    _check_enough(read)
    found = 1 / least_loss(lambda inverse: _derivatives(unembedding, read, inverse), NEAR)
    if not SMALLEST * AT_LIMIT < found < LARGEST / AT_LIMIT:
        raise DataError(
            f"the temperature of tokens would be {found:.3g}, at the limit of what is fitted: are these answers to"
            " these prompts, and not the model's own?"
        )
    return found


def _check_enough(read: ReadTokens) -> None:
    if len(read) < FEWEST_TOKENS:
        raise DataError(f"{len(read)} tokens to fit or judge on, at least {FEWEST_TOKENS} are needed: send more rows")


def _derivatives(unembedding: nn.Linear, read: ReadTokens, inverse: float) -> tuple[float, float]:
    """First and second derivative of the mean NLL by 1/T."""
    rows = [row_derivatives(logits, targets, inverse) for logits, targets in read.logits(unembedding)]
    slopes, curvatures = (torch.cat(each).double() for each in zip(*rows, strict=True))
    return float(slopes.mean()), float(curvatures.mean())


def token_figures(unembedding: nn.Linear, read: ReadTokens, temperature: float, seed: int = 0) -> TokenFigures:
    """How well confidence in single tokens fits at this temperature, 1 for the network as it is.

    Raises DataError for fewer than 100 tokens.
    """
    _check_enough(read)
    confidences, right, losses = zip(
        *(_judged(logits / temperature, targets) for logits, targets in read.logits(unembedding)), strict=True
    )
    confidence, correct = torch.cat(confidences).cpu(), torch.cat(right).cpu()
    return TokenFigures(
        tokens=len(read),
        accuracy=float(correct.double().mean()),
        confidence=float(confidence.mean()),
        nll=float(torch.cat(losses).double().mean()),
        ece=expected_calibration_error(confidence, correct),
        ece_floor=noise_floor(confidence, seed=seed),
    )


def _judged(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each token: probability of the likeliest one (float64), whether it came, and the loss of the one that did."""
    own = logits.log_softmax(dim=1)
    best, places = own.max(dim=1)
    return best.double().exp().clamp(max=1), places == targets, -own.gather(1, targets[:, None])[:, 0]
