"""Augmented batches of images, as uint8, so that they go the same way into the network as any other image."""

import torch
from torch import Tensor

from models.training.classifier.plan import Augmentation

GREY = 128


def augmented(pixels: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """(N, H, W, 3) uint8, each image flipped, moved and cut out on its own; drawn on the CPU."""
    if augmentation.shift or augmentation.flip:
        pixels = _moved(pixels, augmentation, generator)
    if augmentation.cutout:
        pixels = _cut_out(pixels, augmentation.cutout, generator)
    return pixels


def _moved(pixels: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    rows, height, width, _ = pixels.shape
    flipped = torch.rand(rows, generator=generator) < augmentation.flip
    down = _places(height, augmentation.shift, rows, generator)
    across = _places(width, augmentation.shift, rows, generator)
    across = torch.where(flipped[:, None], across.flip(1), across)
    flat = (down * width)[:, :, None] + across[:, None, :]
    offsets = (torch.arange(rows) * height * width)[:, None, None]
    return pixels.reshape(-1, 3)[(flat + offsets).flatten().to(pixels.device)].view_as(pixels)


def _places(length: int, share: float, rows: int, generator: torch.Generator) -> Tensor:
    """(rows, length) int64: where each pixel comes from; beyond an edge the image is reflected."""
    most = min(round(share * length), length - 1)  # a row has no more to reflect
    moves = torch.randint(-most, most + 1, (rows, 1), generator=generator)
    places = (torch.arange(length) + moves).abs()
    return (length - 1) - ((length - 1) - places).abs()


def _cut_out(pixels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    rows, height, width, _ = pixels.shape
    down = _within(height, round(share * height), rows, generator)
    across = _within(width, round(share * width), rows, generator)
    square = (down[:, :, None] & across[:, None, :])[..., None].to(pixels.device)
    return pixels.masked_fill(square, GREY)


def _within(length: int, side: int, rows: int, generator: torch.Generator) -> Tensor:
    """(rows, length) bool: a stretch of `side`, which may reach over an edge."""
    centres = torch.randint(0, length, (rows, 1), generator=generator)
    return ((torch.arange(length) - centres + side // 2) >= 0) & ((torch.arange(length) - centres + side // 2) < side)
