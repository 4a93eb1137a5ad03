"""How an image becomes a network input. The spec travels with the checkpoint; training and serving share this code."""

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}


@dataclass(frozen=True, slots=True)
class InputSpec:
    """Resize the shorter side to `resize`, cut the centre `height` x `width`, scale to [0, 1], normalise per channel.

    With `fit="squash"` the whole image is resized to `height` x `width` instead, whatever its aspect.
    `draft` lets a JPEG be decoded at 1/2, 1/4 or 1/8 of its size as long as no side falls below what `resize` asks
    for; it changes pixels slightly, so it belongs to the checkpoint and its calibration is fitted with it.
    """

    height: int
    width: int
    resize: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    draft: bool = True
    fit: str = "crop"

    def __post_init__(self) -> None:
        if self.interpolation not in RESAMPLING:
            raise ValueError(f"interpolation must be one of {sorted(RESAMPLING)}, got {self.interpolation!r}")
        if self.fit not in ("crop", "squash"):
            raise ValueError(f"fit must be crop or squash, got {self.fit!r}")
        if self.fit == "crop" and not 0 < max(self.height, self.width) <= self.resize:
            raise ValueError(f"crop {self.height}x{self.width} must fit into resize {self.resize}")
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive, got {self.std}")

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        return cls(**{**fields, "mean": tuple(fields["mean"]), "std": tuple(fields["std"])})

    def pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        """One RGB image to (height, width, 3) uint8.

        Equal to resizing the whole image and then cropping, up to Pillow's rounding between the two axes, but only the
        pixels that survive the crop are computed.
        """
        if image.mode != "RGB":
            raise ValueError(f"expected an RGB image, got mode {image.mode!r}")
        whole = (0.0, 0.0, float(image.width), float(image.height))
        box = whole if self.fit == "squash" else self._crop_box(*image.size)
        # A copy, since what Pillow lends is read-only, which torch warns about.
        return np.array(image.resize((self.width, self.height), RESAMPLING[self.interpolation], box=box))

    def draft_size(self, width: int, height: int) -> tuple[int, int]:
        """The smallest size a `width` x `height` JPEG may be decoded at without being enlarged afterwards."""
        if self.fit == "squash":
            return self.width, self.height
        shorter = min(width, height)
        return -(-width * self.resize // shorter), -(-height * self.resize // shorter)

    def _crop_box(self, width: int, height: int) -> tuple[float, float, float, float]:
        scale = self.resize / min(width, height)
        columns, rows = (max(self.resize, round(side * scale)) for side in (width, height))
        left, top = (columns - self.width) // 2, (rows - self.height) // 2
        across, down = width / columns, height / rows
        return left * across, top * down, (left + self.width) * across, (top + self.height) * down

    def tensor(self, pixels: NDArray[np.uint8], device: torch.device, dtype: torch.dtype) -> Tensor:
        """(N, height, width, 3) uint8 to a normalised (N, 3, height, width) tensor in channels_last order."""
        if pixels.shape[1:] != (self.height, self.width, 3) or pixels.dtype != np.uint8:
            raise ValueError(f"expected uint8 (N, {self.height}, {self.width}, 3), got {pixels.dtype} {pixels.shape}")
        count = pixels.shape[0]
        # One row of pixels is one long vector here, which is four times as fast as broadcasting over three channels.
        rows = torch.from_numpy(pixels).to(device, non_blocking=True).reshape(count * self.height, -1)
        mean, std = (torch.tensor(values, device=device).repeat(self.width) for values in (self.mean, self.std))
        normalised = rows.to(torch.float32).mul_(1 / (255 * std)).sub_(mean / std).to(dtype)
        return normalised.view(count, self.height, self.width, 3).permute(0, 3, 1, 2)
