"""The 32-pixel sets of the data folder: lossless WebP strips in an .npz, as float32 tensors."""

import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def read_strips(path: Path) -> tuple[Tensor, Tensor]:
    """Pixels (N, 3, 32, 32) uint8 and labels (N,) int64, in the file's order."""
    with np.load(path) as file:
        strips, offsets, labels = file["webp"], file["offsets"], file["label"]
    parts = [
        np.asarray(Image.open(io.BytesIO(strips[begin:end].tobytes())).convert("RGB")).reshape(-1, 32, 32, 3)
        for begin, end in pairwise(offsets)
    ]
    pixels = torch.from_numpy(np.concatenate(parts)).permute(0, 3, 1, 2)
    return pixels, torch.from_numpy(labels.astype(np.int64))


def normalised(pixels: Tensor) -> Tensor:
    """(N, 3, H, W) float32 as CIFAR-10 networks expect it."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return ((pixels.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)
