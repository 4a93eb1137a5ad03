"""The exact form of the gradients for some images: dear, so what is done is kept in files as it is done."""

from collections.abc import Callable, Sequence
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from models.core.atomic import write_bytes
from models.core.outputs import LayerGradients
from models.gradients.exact import ExactGradients

ROWS = 6  # in a file, at most
PASSES = 400  # backward passes of single rows in a file, about: a minute of a large network is lost at most


def collect_exact(
    gradients: ExactGradients,
    names: Sequence[str],
    images: Callable[[Sequence[str]], Tensor],
    folder: Path,
    told: Callable[[int], None],
    *,
    classes: int,
) -> None:
    """A few rows, of many classes one alone, become a file in `folder`; those that are there are not computed again.

    `images` gives the network's inputs (N, 3, height, width) float32 of some rows. `told` hears how many are done.
    """
    most = max(1, min(ROWS, PASSES // classes))
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(names), most):
        path = folder / f"{start:09}.safetensors"
        if not path.exists():
            write_bytes(path, _part(gradients, images(names[start : start + most])))
        told(min(start + most, len(names)))


def gather_exact(folder: Path) -> LayerGradients:
    """What `collect_exact` has left in a folder, in its order."""
    parts = [safetensors.torch.load(path.read_bytes()) for path in sorted(folder.glob("*.safetensors"))]
    return LayerGradients(torch.cat([part["energies"] for part in parts]), int(parts[0]["layers"]))


def _part(gradients: ExactGradients, images: Tensor) -> bytes:
    found = [each for each in gradients.energies(images) if each is not None]
    energies = torch.cat([each.energies for each in found]).float().cpu()
    stored: bytes = safetensors.torch.save({"energies": energies, "layers": torch.tensor(found[0].layers)})
    return stored
