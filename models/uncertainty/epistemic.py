"""Epistemic score from per-class parameter gradients: REGrad (arXiv 2404.10124) with layer-selective weights."""

import torch
from torch import Tensor

from models.core.method import Dimensions, GradientScore, Kind, State
from models.core.outputs import LayerGradients, ModelOutputs, Needs
from models.gradients.family import PRESETS, layer_weights
from models.gradients.last_layer import last_layer_energy

DECAY = PRESETS["regrad"].decay


class Epistemic(GradientScore):
    """sum_l w_l sum_c p_c ||grad log p_c||^2 over the parameters of layer l, at least 0; w_l ∝ exp(decay · l / L).

    p are the network's own probabilities: the gradients are those of the network as trained, before any calibration.
    The form for the last layer is that layer's term without its weight.
    """

    name = "epistemic"
    needs = Needs.LOGITS | Needs.FEATURES
    kind = Kind.EPISTEMIC

    def __init__(self, dimensions: Dimensions, decay: float = DECAY) -> None:
        super().__init__(dimensions)
        self._state = {"decay": torch.tensor(decay)}

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"decay": ()}

    def load_state(self, state: State) -> "Epistemic":
        """As of every method; versions of format 1 stored nothing, since they had the last layer alone."""
        return super().load_state(state) if state else self

    def of_layers(self, gradients: LayerGradients) -> Tensor:
        weights = layer_weights(float(self._state["decay"]), gradients.layers)[-gradients.energies.shape[1] :]
        return (gradients.energies * weights.to(gradients.energies)).sum(dim=1)

    def of_last_layer(self, outputs: ModelOutputs) -> Tensor:
        return last_layer_energy(outputs.log_probabilities().exp(), outputs.require_features())
