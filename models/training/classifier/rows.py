"""The images that a classifier is trained on, decoded to its input size and nothing more."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.core.errors import DataError
from models.core.input_spec import InputSpec


@dataclass(frozen=True, slots=True)
class PixelRows:
    """`pixels` (N, H, W, 3) uint8 as `spec` makes them, perhaps a memory map; `labels` (N,) int64."""

    pixels: NDArray[np.uint8]
    labels: Tensor
    spec: InputSpec

    def __post_init__(self) -> None:
        if self.pixels.shape != (len(self.labels), self.spec.height, self.spec.width, 3):
            size = f"{self.spec.height} x {self.spec.width}"
            raise ValueError(f"{len(self.labels)} labels and a spec of {size} do not go with {self.pixels.shape}")
        if not len(self.labels):
            raise DataError("there are no images: give at least one")

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (M, H, W, 3) uint8 and labels (M,) of these rows, in this order, on the CPU."""
        return torch.from_numpy(self.pixels[places.numpy()]), self.labels[places]

    def images(self, pixels: Tensor, device: torch.device) -> Tensor:
        """(M, H, W, 3) uint8 to the network's input, float32 (M, 3, H, W)."""
        return self.spec.tensor(pixels.numpy(), device, torch.float32)
