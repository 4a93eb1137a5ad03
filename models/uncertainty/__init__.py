"""The registry of uncertainty scores, in the order of the response. Adding one is one file and one line here."""

from models.core.errors import UnknownNameError
from models.core.method import Dimensions, UncertaintyScore
from models.uncertainty.energy import Energy
from models.uncertainty.entropy import Entropy
from models.uncertainty.epistemic import Epistemic
from models.uncertainty.loss_rank import LossRank
from models.uncertainty.max_prob import MaxProb

__all__ = ["READY", "SCORES", "score"]

SCORES: dict[str, type[UncertaintyScore]] = {
    "entropy": Entropy,
    "max_prob": MaxProb,
    "energy": Energy,
    "loss_rank": LossRank,
    "epistemic": Epistemic,
}

# What a version can be given without training; whether a score is fitted on construction hangs on no size.
READY = tuple(name for name, kind in SCORES.items() if kind(Dimensions(classes=2, features=1)).fitted)


def score(name: str) -> type[UncertaintyScore]:
    """Raises UnknownNameError."""
    if name not in SCORES:
        raise UnknownNameError("uncertainty score", name, SCORES)
    return SCORES[name]
