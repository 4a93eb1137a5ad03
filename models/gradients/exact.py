"""The exact form of REGrad: every layer, every class, in float32, on the network as it is stored.

For C classes that is a backward pass each. The directions are sent back largest first, and those that hold the last
TOLERANCE of the gradients on the logits are not sent but counted in proportion, which saves most passes of an input
that the network is certain of. With ten classes 2 to 9 passes are left of 10.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn

from models.core.gradient_plan import GradientPlan
from models.core.outputs import LayerGradients
from models.gradients.class_gradients import ClassGradients
from models.gradients.class_roots import cotangents, rotations
from models.gradients.family import Family, with_perturbed
from models.gradients.layer_kind import Batch
from models.gradients.layers import find_layers

TOLERANCE = 1e-5  # share of sum_c p_c ||e_c - p||^2 that may be left out: the energies differ by less than 1e-4
ROWS = 6  # inputs that go back together at most: more are hardly faster, and hold more memory than a forward pass
TINY = 1e-30


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

        ROWS images at a time, in order: as many passes for each of them as the one among them needs that needs most.
        """
        found: list[LayerGradients | None] = [None] * len(images)
        most = max(1, min(ROWS, self._gradients.rows_at_a_time(self._copies) // self._copies))
        with self._lock, suppress(_StoppedError):
            for begin in range(0, len(images), most):
                energies = self._together(images[begin : begin + most], stop)
                for row, mine in enumerate(energies, start=begin):
                    found[row] = LayerGradients(mine[None], len(self.layers))
        return found

    @torch.no_grad()
    def _probabilities(self, inputs: Tensor) -> Tensor:
        """(N, copies, C) in float64, so that the small eigenvalues keep their digits."""
        return self._by_image(self._network(inputs))

    def _by_image(self, logits: Tensor) -> Tensor:
        return logits.double().softmax(dim=1).reshape(-1, self._copies, logits.shape[1])

    def _inputs(self, images: Tensor) -> Tensor:
        """(N · copies, ...): each image and its noisy copies side by side."""
        family = Family(perturbations=self.plan.perturbations, sigma=self.plan.sigma)
        return with_perturbed(images, family, self.plan.seed).flatten(0, 1)

    def _together(self, images: Tensor, stop: Callable[[], bool]) -> Tensor:
        """(N, L) for as many images as fit the memory. Raises _StoppedError."""
        if stop():
            raise _StoppedError
        inputs = self._inputs(images)
        values, rotation = rotations(self._probabilities(inputs))
        count = needed(values)

        def directions(logits: Tensor) -> Sequence[Tensor]:
            return _Directions(rotation[:, :count], self._by_image(logits), logits.dtype, stop)

        _, norms = self._gradients.norms(inputs, Batch(len(images), self._copies), directions)
        covered = values[:, :count].sum(dim=1) / values.sum(dim=1).clamp_min(TINY)
        return norms.sum(dim=0) / covered.to(norms)[:, None].clamp_min(TINY)


def needed(values: Tensor) -> int:
    """How many of the eigenvalues (N, C), largest first, hold all but TOLERANCE of their sum in every row."""
    shares = values.cumsum(dim=1) / values.sum(dim=1, keepdim=True).clamp_min(TINY)
    return min(int((shares < 1 - TOLERANCE).sum(dim=1).max()) + 1, values.shape[1])


class _StoppedError(Exception):
    """There is no time for another backward pass."""


class _Directions(Sequence[Tensor]):
    """Made one by one, since a thousand of a thousand classes would fill the memory; asks whether to stop."""

    def __init__(self, rotation: Tensor, probabilities: Tensor, dtype: torch.dtype, stop: Callable[[], bool]) -> None:
        self._rotation = rotation
        self._probabilities = probabilities
        self._dtype = dtype
        self._stop = stop

    def __len__(self) -> int:
        return self._rotation.shape[1]

    def __getitem__(self, place: int) -> Tensor:  # type: ignore[override]  # slices are not needed
        if place >= len(self):
            raise IndexError(place)
        if self._stop():
            raise _StoppedError
        copies = self._probabilities.shape[1]
        return (cotangents(self._rotation[:, place], self._probabilities) / copies).flatten(0, 1).to(self._dtype)
