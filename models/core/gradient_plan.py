"""How a version takes the gradients that its epistemic score needs: part of the manifest, so that scores stay equal."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class GradientPlan:
    """`depth` last layers of the network with `directions` backward passes each input; see models/gradients/fast.py.

    The exact form takes every layer and class. In both, `perturbations` noisy copies of an input (Gaussian, deviation
    `sigma` in normalised input units) share its gradient. `seed` draws the noise, alike for every input.
    """

    depth: int
    directions: int
    perturbations: int = 0
    sigma: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("depth", 2), ("directions", 1), ("perturbations", 0), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(f"gradients: {name} must be a whole number of at least {least}, got {value!r}")
        if not 0 < self.sigma < math.inf:
            raise ValueError(f"gradients: sigma must be a number above 0, got {self.sigma!r}")

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> Self:
        return cls(**found)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
