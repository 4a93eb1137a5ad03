"""The detectors of pytorch-ood that the family of scores stands beside, on the same network and with its own code."""

import torch
from pytorch_ood.detector import KNN, ODIN, EnergyBased, Entropy, GradNorm, MaxSoftmax, ViM
from torch import Tensor

from tests.benchmarks.epistemic.subject import ROWS_AT_A_TIME, Subject


class Baselines:
    """Fitted on the features (N, D) of training rows, where a detector needs them. Constants are pytorch-ood's.

    Only `neighbours` of KNN and the dimensions of ViM's principal space are ours: they have to suit the rows at hand.
    """

    def __init__(self, subject: Subject, fitting: Tensor, neighbours: int, principal: int) -> None:
        head = subject.backbone.head
        labels = torch.zeros(len(fitting), dtype=torch.int64)
        self.subject = subject
        self._odin = ODIN(subject.network, norm_std=list(subject.std))
        # The gradient of the last layer's weight needs nothing before the last layer.
        self._gradnorm = GradNorm(head, param_filter=lambda name: name == "weight")
        self._knn = KNN(None, k=neighbours).fit_features(fitting, labels)
        self._vim = ViM(None, d=principal, w=head.weight, b=head.bias).fit_features(fitting, labels)

    def scores(self, pixels: Tensor, features: Tensor, logits: Tensor) -> dict[str, Tensor]:
        """(N,) float64 each, higher meaning outside."""
        found = {
            "max probability": MaxSoftmax(None).predict_logits(logits),
            "entropy": Entropy(None).predict_logits(logits),
            "energy": EnergyBased(None).predict_logits(logits),
            "ODIN": self._odin_scores(pixels),
            "KNN": self._knn.predict_features(features),
            "ViM": self._vim.predict_features(features),
            "GradNorm": self._gradnorm.predict(features),
        }
        return {name: score.detach().double() for name, score in found.items()}

    def _odin_scores(self, pixels: Tensor) -> Tensor:
        parts = pixels.split(ROWS_AT_A_TIME)
        return torch.cat([self._odin.predict(self.subject.images(part)) for part in parts])
