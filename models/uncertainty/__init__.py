"""The registry of uncertainty scores, in the order of the response. Adding one is one file and one line here."""

from models.core.errors import UnknownNameError
from models.core.method import UncertaintyScore
from models.uncertainty.energy import Energy
from models.uncertainty.entropy import Entropy
from models.uncertainty.epistemic import Epistemic
from models.uncertainty.max_prob import MaxProb

__all__ = ["SCORES", "score"]

SCORES: dict[str, type[UncertaintyScore]] = {
    "entropy": Entropy,
    "max_prob": MaxProb,
    "energy": Energy,
    "epistemic": Epistemic,
}


def score(name: str) -> type[UncertaintyScore]:
    """Raises UnknownNameError."""
    if name not in SCORES:
        raise UnknownNameError("uncertainty score", name, SCORES)
    return SCORES[name]
