"""What a training reads: views of images as a frozen network sees them, from files or made anew."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, slots=True)
class ViewRows:
    """Views in training order, on the CPU; those of images that cannot be read are left out."""

    features: Tensor  # (n, D) float32
    losses: Tensor  # (n,) float32: cross-entropy of the frozen classifier's own logits
    labels: Tensor  # (n,) int64: class index of the model
    images: Tensor  # (n,) int64: which image, by its position among the rows, a view shows


class ViewSource(Protocol):
    """Passes over all images one after the other, each in a seeded order of its own."""

    @property
    def total(self) -> int:
        """Views in all, unreadable ones included: those of each image times the images."""
        ...

    def read(self, start: int, stop: int) -> ViewRows:
        """Views `start` to `stop` - 1. Raises ValueError beyond `total`."""
        ...
