"""The scores that need no head, from a classifier's own logits."""

from dataclasses import replace

from torch import Tensor

from models.core.method import Dimensions
from models.core.outputs import ModelOutputs
from models.uncertainty.entropy import Entropy
from models.uncertainty.max_prob import MaxProb


def baselines(outputs: ModelOutputs) -> dict[str, Tensor]:
    """Entropy and 1 - max probability (N,) of the network's own logits, without a temperature."""
    dimensions = Dimensions(classes=outputs.logits.shape[1], features=1)
    plain = replace(outputs, calibrated=outputs.logits)
    return {method.name: method(dimensions).score(plain) for method in (Entropy, MaxProb)}
