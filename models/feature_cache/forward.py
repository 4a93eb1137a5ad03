"""Rows of outputs from the network itself: decode, augment where there is a plan, forward pass, loss."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models.backbones.prepared import PreparedNetwork
from models.core.outputs import LayerGradients
from models.feature_cache.augment import augmented
from models.feature_cache.image_rows import ImageRows
from models.feature_cache.pictures import KEPT_BYTES, Picture, Pictures
from models.feature_cache.view_order import ViewOrder
from models.feature_cache.view_plan import ViewPlan

BATCH_ROWS = {"cpu": 16, "cuda": 256}  # of a forward pass; the results' last bits depend on it


@dataclass(frozen=True, slots=True)
class Computed:
    """Some rows in order, on the CPU. Tensors hold those that are `readable`; `bad` says why others are not."""

    readable: NDArray[np.bool_]  # (n,)
    bad: dict[int, str]  # place among the n → reason
    images: NDArray[np.int64]  # (n,)
    labels: NDArray[np.int64]  # (n,)
    features: Tensor  # (r, D) float32
    logits: Tensor  # (r, C) float32
    losses: Tensor  # (r,) float32
    gradients: LayerGradients | None


class ForwardPasses:
    """Threads may share it; at most `at_once` of them are inside the network at a time.

    With a plan the rows are the views of the images in training order; without, the images as they are served, with
    gradients where the network gives them.
    """

    def __init__(self, network: PreparedNetwork, rows: ImageRows, plan: ViewPlan | None, at_once: int) -> None:
        self.network = network
        self.rows = rows
        self.plan = plan
        self.order = ViewOrder(plan or ViewPlan(1, 0), len(rows.names))
        self.pictures = Pictures(rows, network.input_spec, KEPT_BYTES if plan else 0)
        self._turns = threading.BoundedSemaphore(at_once)

    @property
    def total(self) -> int:
        return self.order.total

    @property
    def batch_rows(self) -> int:
        return BATCH_ROWS[self.network.device.type]

    def compute(self, start: int, stop: int) -> Computed:
        """Rows `start` to `stop` - 1 in one forward pass."""
        images, numbers = self._positions(start, stop)
        pictures = self.pictures.read(images.tolist())
        bad = {place: str(picture) for place, picture in enumerate(pictures) if not isinstance(picture, Image.Image)}
        readable = np.array([place not in bad for place in range(stop - start)], np.bool_)
        labels = self.rows.labels[images]
        pixels = self._pixels(pictures, images, numbers)
        found = self._outputs(pixels, torch.from_numpy(labels[readable]))
        return _of_finite_rows(Computed(readable, bad, images, labels, *found))

    def _positions(self, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if self.plan is None:
            return np.arange(start, stop), np.zeros(stop - start, np.int64)
        return self.order.positions(start, stop), self.order.numbers(start, stop)

    def _pixels(
        self, pictures: Sequence[Picture], images: NDArray[np.int64], numbers: NDArray[np.int64]
    ) -> list[NDArray[np.uint8]]:
        spec = self.network.input_spec
        found = []
        for picture, image, number in zip(pictures, images.tolist(), numbers.tolist(), strict=True):
            if isinstance(picture, Image.Image):
                plain = self.plan is None
                found.append(
                    spec.pixels(picture) if plain else augmented(picture, spec, self.order.plan, image, number)
                )
        return found

    def _outputs(
        self, pixels: list[NDArray[np.uint8]], labels: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, LayerGradients | None]:
        if not pixels:
            sizes = self.network.dimensions
            return torch.empty(0, sizes.features), torch.empty(0, sizes.classes), torch.empty(0), None
        with self._turns:
            outputs = self.network.outputs(np.stack(pixels), gradients=self.plan is None)
            features, logits = outputs.require_features().cpu(), outputs.logits.cpu()
            found = outputs.gradients
            gradients = None if found is None else LayerGradients(found.energies.cpu(), found.layers)
        losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
        return features, logits, losses, gradients


def _of_finite_rows(found: Computed) -> Computed:
    """Images that the network overflows on are as bad as those that cannot be read."""
    finite = found.features.isfinite().all(dim=1) & found.logits.isfinite().all(dim=1)
    if bool(finite.all()):
        return found
    places = np.flatnonzero(found.readable)[~finite.numpy()]
    readable = found.readable.copy()
    readable[places] = False
    gradients = found.gradients
    return replace(
        found,
        readable=readable,
        bad=found.bad | {int(place): "the network gives no finite numbers for it" for place in places},
        features=found.features[finite],
        logits=found.logits[finite],
        losses=found.losses[finite],
        gradients=gradients and replace(gradients, energies=gradients.energies[finite]),
    )
