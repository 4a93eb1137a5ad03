"""Free energy of the network's own logits (Liu et al. 2020, arXiv 2010.03759, equation 4, temperature 1)."""

import torch
from torch import Tensor

from models.core.method import Kind, UncertaintyScore
from models.core.outputs import ModelOutputs, Needs


class Energy(UncertaintyScore):
    """-log sum_c exp z_c, unbounded; a familiar input has a low energy."""

    name = "energy"
    needs = Needs.LOGITS
    kind = Kind.EPISTEMIC

    def score(self, outputs: ModelOutputs) -> Tensor:
        return -torch.logsumexp(outputs.masked(outputs.logits), dim=1)
