"""Mixup (arXiv 1710.09412): images blended in pairs, the loss shared between their two labels."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.training.classifier.losses import RowLoss


@dataclass(frozen=True, slots=True)
class Mixed:
    """`share` of each image is its own, with `labels`; the rest is that of the image with `others`."""

    images: Tensor  # (N, 3, H, W)
    labels: Tensor  # (N,)
    others: Tensor  # (N,)
    share: float

    def loss(self, row_loss: RowLoss, logits: Tensor) -> Tensor:
        """(N,). For cross-entropy equal to that with the blended labels."""
        own = row_loss(logits, self.labels)
        return own if self.share == 1 else self.share * own + (1 - self.share) * row_loss(logits, self.others)


def mixed(images: Tensor, labels: Tensor, alpha: float, generator: torch.Generator) -> Mixed:
    """One share a batch from Beta(alpha, alpha), the own image having the larger part; alpha 0 mixes nothing."""
    if not alpha:
        return Mixed(images, labels, labels, 1.0)
    # torch's Beta takes no generator: numpy draws, from a seed that the generator gives.
    drawn = float(np.random.default_rng(int(torch.randint(2**62, (), generator=generator))).beta(alpha, alpha))
    share = max(drawn, 1 - drawn)
    partners = torch.randperm(len(labels), generator=generator).to(images.device)
    return Mixed(share * images + (1 - share) * images[partners], labels, labels[partners], share)
