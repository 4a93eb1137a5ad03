"""What one process of a training does with each batch: all of it, or its part as one rank of several.

Each rank of several has a device, a copy of the network and a part of every batch. The gradients of the parts are
averaged in the backward pass, so all copies take the same steps. Batch norms normalise by the statistics of a rank's
own part, so to them a batch is smaller than in one process; the running ones are those of rank 0.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

LONGEST_WAIT = timedelta(hours=12)  # ours: while rank 0 judges; a rank that has died is seen by the launcher at once
Found = TypeVar("Found")


class Sharing(Protocol):
    """`wrap` and `total` are done by all ranks or none, and so is `agreed`: each waits for the others."""

    @property
    def count(self) -> int:
        """Of ranks."""

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which alone judges and saves."""

    @property
    def own(self) -> tuple[int, ...]:
        """What tells the random draws of this rank from those of others, besides purpose and step."""

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network to call in a training step, and only there; it has the parameters of the one given.

        What was wrapped before must be out of use.
        """

    def share(self, places: Tensor) -> Tensor:
        """This rank's part of a batch."""

    def weighted(self, loss: Tensor, rows: int, of: int) -> Tensor:
        """A mean loss over `rows` of the `of` rows of a batch, so that its mean over ranks is that over the batch."""

    def total(self, values: Tensor) -> Tensor:
        """The sum over ranks."""

    def agreed(self, find: Callable[[], Found]) -> Found:
        """What rank 0 finds."""


class Alone:
    """One process."""

    count = 1
    first = True
    own: tuple[int, ...] = ()

    def wrap(self, network: nn.Module) -> nn.Module:
        return network

    def share(self, places: Tensor) -> Tensor:
        return places

    def weighted(self, loss: Tensor, rows: int, of: int) -> Tensor:
        return loss

    def total(self, values: Tensor) -> Tensor:
        return values

    def agreed(self, find: Callable[[], Found]) -> Found:
        return find()


ALONE = Alone()


class Accelerated:
    """A rank of several, by its environment variables RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT."""

    def __init__(self, *, cpu: bool) -> None:
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

        self._accelerator = Accelerator(
            cpu=cpu,
            mixed_precision="no",  # the plan's is set around each call
            kwargs_handlers=[
                InitProcessGroupKwargs(timeout=LONGEST_WAIT),
                DistributedDataParallelKwargs(find_unused_parameters=True),  # some of transformers have them
            ],
        )
        self.device: torch.device = self._accelerator.device
        self.count: int = self._accelerator.num_processes
        self.first: bool = self._accelerator.is_main_process
        self.own: tuple[int, ...] = (self._accelerator.process_index,)

    def wrap(self, network: nn.Module) -> nn.Module:
        # One that is still held would average the gradients as well.
        self._accelerator.free_memory()
        wrapped: nn.Module = self._accelerator.prepare_model(network)
        return wrapped

    def share(self, places: Tensor) -> Tensor:
        return places.tensor_split(self.count)[self.own[0]]

    def weighted(self, loss: Tensor, rows: int, of: int) -> Tensor:
        return loss * (rows * self.count / of)

    def total(self, values: Tensor) -> Tensor:
        summed: Tensor = self._accelerator.reduce(values, reduction="sum")
        return summed

    def agreed(self, find: Callable[[], Found]) -> Found:
        from accelerate.utils import broadcast_object_list

        found = broadcast_object_list([find() if self.first else None])
        agreed: Found = found[0]
        return agreed

    def close(self) -> None:
        """After the last step; waits until all ranks are there."""
        self._accelerator.wait_for_everyone()
        self._accelerator.end_training()
