"""One forward pass that remembers what every layer read, and backward passes that hand over parameter gradients.

Hooks stand on the modules for good and do nothing unless a recording is open in their thread, so that threads which
share a network do not see each other.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from models.core.errors import UnsupportedError
from models.gradients.layer_kind import Batch, Terms
from models.gradients.layers import Member

_open = threading.local()


@dataclass(slots=True)
class Recording:
    """What one forward pass of `batch.rows` rows leaves behind."""

    batch: Batch
    starts: list[Tensor] = field(default_factory=list)
    reads: dict[int, Any] = field(default_factory=dict)  # what a member is reading just now
    deliver: Callable[[Member, Terms], None] | None = None

    def backward(self, logits: Tensor, cotangents: Tensor, deliver: Callable[[Member, Terms], None]) -> None:
        """Go back from `cotangents` (rows, C) on the logits; `deliver` gets the terms of each use of a member."""
        self.deliver = deliver
        torch.autograd.grad(logits, self.starts, cotangents, retain_graph=True, allow_unused=True)
        self.deliver = None


class Recorder:
    """Puts hooks on members of a network. Make one for each network and keep it as long as the network."""

    def __init__(self, members: Sequence[Member]) -> None:
        for member in members:
            member.module.register_forward_pre_hook(_before(member))
            member.kind.output_module(member.module).register_forward_hook(_after(member))
        self.recorded = {id(member) for member in members}

    @contextmanager
    def record(self, batch: Batch) -> Iterator[Recording]:
        """Record the forward passes of this thread within the block. The parameters must not require gradients."""
        recording = Recording(batch)
        _open.recording, _open.members = recording, self.recorded
        try:
            with torch.enable_grad():
                yield recording
        finally:
            _open.recording = None


def _current(member: Member) -> Recording | None:
    recording: Recording | None = getattr(_open, "recording", None)
    return recording if recording is not None and id(member) in _open.members else None


def _before(member: Member) -> Callable[[nn.Module, Any], None]:
    def hook(module: nn.Module, inputs: Any) -> None:
        recording = _current(member)
        if recording is None:
            return
        read = inputs[0].detach()
        if read.shape[0] != recording.batch.rows:
            raise UnsupportedError(
                f"{member.name} reads {read.shape[0]} rows for {recording.batch.rows} inputs: it mixes inputs, or cuts"
                " them in parts, and their gradients cannot be told apart"
            )
        recording.reads[id(member)] = member.kind.read(module, read, recording.batch)

    return hook


def _after(member: Member) -> Callable[[nn.Module, Any, Tensor], Tensor | None]:
    def hook(_: nn.Module, __: Any, output: Tensor) -> Tensor | None:
        recording = _current(member)
        if recording is None:
            return None
        if not output.requires_grad:
            start = output.detach().requires_grad_()
            recording.starts.append(start)
            output = start.clone()  # what comes after may write into it
        terms = recording.reads.pop(id(member))

        def arrived(grad: Tensor) -> None:
            if recording.deliver is not None:
                recording.deliver(member, terms(grad))

        output.register_hook(arrived)  # type: ignore[no-untyped-call]
        return output

    return hook
