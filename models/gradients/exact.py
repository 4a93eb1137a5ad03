"""The exact form of REGrad: every layer, every class, on the network as it is stored, in the precision it is given.

That is a backward pass a class, less one for an input without noisy copies: the class gradients add up to nothing when
weighed by p, so C - 1 directions at right angles to √p are all there is. On CUDA torch may convolve in TF32.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn

from models.core.gradient_plan import GradientPlan
from models.core.outputs import LayerGradients
from models.gradients.class_gradients import ClassGradients
from models.gradients.class_roots import Reflection, cotangents
from models.gradients.family import Family, with_perturbed
from models.gradients.layer_kind import Batch
from models.gradients.layers import find_layers

ROWS = 64  # inputs that go back together at most
HELD = 50 * 2**20  # bytes that they may hold in all; one input may hold more


class ExactGradients:
    """Holds `network` (images → logits, eval mode, float32), which nothing else may run. Calls wait for each other."""

    def __init__(self, network: nn.Module, example: Tensor, plan: GradientPlan) -> None:
        self.plan = plan
        self.layers = find_layers(network, lambda: network(example))
        self._network = network
        self._gradients = ClassGradients(network, self.layers, network)
        self._copies = 1 + plan.perturbations
        self._lock = threading.Lock()

    def energies(self, images: Tensor, stop: Callable[[], bool] = lambda: False) -> list[LayerGradients | None]:
        """For each of N images its gradients, one row, or None where `stop`, asked before every pass, came first.

        Some images at a time, in order; each has the same gradients whatever comes with it.
        """
        found: list[LayerGradients | None] = [None] * len(images)
        most = max(1, min(ROWS, HELD // (self.layers.bytes_a_row * self._copies)))
        with self._lock, suppress(_StoppedError):
            for begin in range(0, len(images), most):
                energies = self._together(images[begin : begin + most], stop)
                for row, mine in enumerate(energies, start=begin):
                    found[row] = LayerGradients(mine[None], len(self.layers))
        return found

    def _inputs(self, images: Tensor) -> Tensor:
        """(N · copies, ...): each image and its noisy copies side by side."""
        family = Family(perturbations=self.plan.perturbations, sigma=self.plan.sigma)
        return with_perturbed(images, family, self.plan.seed).flatten(0, 1)

    def _together(self, images: Tensor, stop: Callable[[], bool]) -> Tensor:
        """(N, L) for as many images as fit the memory. Raises _StoppedError."""
        if stop():
            raise _StoppedError

        def directions(logits: Tensor) -> Sequence[Tensor]:
            probabilities = logits.double().softmax(dim=1).reshape(len(images), self._copies, -1)
            return _Directions(probabilities, logits.dtype, stop)

        _, norms = self._gradients.norms(self._inputs(images), Batch(len(images), self._copies), directions)
        return norms.sum(dim=0)


class _StoppedError(Exception):
    """There is no time for another backward pass."""


class _Directions(Sequence[Tensor]):
    """Cotangents (N · copies, C) for probabilities (N, copies, C), made one by one; asks each time whether to stop."""

    def __init__(self, probabilities: Tensor, dtype: torch.dtype, stop: Callable[[], bool]) -> None:
        self._probabilities = probabilities
        self._basis = Reflection(probabilities[:, 0])
        self._dtype = dtype
        self._stop = stop

    def __len__(self) -> int:
        copies, classes = self._probabilities.shape[1:]
        return classes - 1 if copies == 1 else classes

    def __getitem__(self, place: int) -> Tensor:  # type: ignore[override]  # slices are not needed
        if place >= len(self):
            raise IndexError(place)
        if self._stop():
            raise _StoppedError
        copies = self._probabilities.shape[1]
        sent = cotangents(self._basis.row(place), self._probabilities) / copies
        return sent.flatten(0, 1).to(self._dtype)
