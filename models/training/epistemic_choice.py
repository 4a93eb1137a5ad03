"""Which λ and which sigma of the epistemic score tell wrongly from rightly classified rows best."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from models.core.errors import DataError
from models.core.method import Dimensions
from models.core.outputs import LayerGradients
from models.gradients.family import PRESETS
from models.metrics.ranking import auroc
from models.uncertainty.epistemic import Epistemic

DECAYS = (0.0, 1.0, 2.0, 5.0, 10.0)
SIGMAS = (0.005, 0.02, 0.05, 0.1)


@dataclass(frozen=True, slots=True)
class Trial:
    """`auroc` is the chance that a wrong row scores above a right one."""

    decay: float
    sigma: float
    auroc: float


def compare(energies: Mapping[float, LayerGradients], wrong: Tensor, dimensions: Dimensions) -> tuple[Trial, ...]:
    """Every λ of DECAYS with every sigma that there are gradients for, on the same rows; `wrong` (N,) bool.

    Raises DataError where all rows are wrong or all are right.
    """
    if wrong.all() or not wrong.any():
        which = "wrong" if wrong.any() else "right"
        raise DataError(f"all {len(wrong)} rows to choose by are {which}: leave `choose` out, or send more rows")
    return tuple(
        Trial(decay, sigma, auroc(Epistemic(dimensions, decay).of_layers(gradients), wrong))
        for sigma, gradients in energies.items()
        for decay in DECAYS
    )


def best(trials: tuple[Trial, ...]) -> Trial:
    """That of the highest AUROC; of equal ones that which is nearest to the default."""
    default = PRESETS["regrad"]
    return max(
        trials, key=lambda trial: (trial.auroc, -abs(trial.decay - default.decay), -abs(trial.sigma - default.sigma))
    )
