"""One forward pass that remembers what every layer read, and backward passes that hand over parameter gradients.

Hooks stand on the modules for good and do nothing unless a recording is open in their thread, so that threads which
share a network do not see each other.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from models.core.errors import UnsupportedError
from models.gradients.broadcast import Substitution
from models.gradients.layer_kind import Batch, LayerKind, Terms
from models.gradients.layers import Member
from models.gradients.terms import Direct

_open = threading.local()


@dataclass(slots=True)
class Recording:
    """What one forward pass of `batch.rows` rows leaves behind."""

    recorder: "Recorder"
    batch: Batch
    starts: list[Tensor] = field(default_factory=list)
    reads: dict[int, Callable[[Tensor], Terms]] = field(default_factory=dict)  # what a member is reading just now
    copies: dict[int, Tensor] = field(default_factory=dict)  # of broadcast parameters
    deliver: Callable[[Member, Terms], None] | None = None

    def backward(self, logits: Tensor, cotangents: Tensor, deliver: Callable[[Member, Terms], None]) -> None:
        """Go back from `cotangents` (rows, C) on the logits; `deliver` gets the terms of each use of a member."""
        self.deliver = deliver
        torch.autograd.grad(logits, self.starts, cotangents, retain_graph=True, allow_unused=True)
        self.deliver = None

    def follow(self, member: Member, output: Tensor, terms: Callable[[Tensor], Terms]) -> Tensor:
        """`output`, made to take part in backward passes and to deliver the terms of its gradient."""
        if not output.requires_grad:
            start = output.detach().requires_grad_()
            self.starts.append(start)
            output = start.clone()  # what comes after may write into it
        elif output._is_view():
            output = output.clone()  # writing into a view gives it another past, without this hook

        def arrived(grad: Tensor) -> None:
            if self.deliver is not None:
                self.deliver(member, terms(grad))

        output.register_hook(arrived)  # type: ignore[no-untyped-call]
        return output


class Recorder:
    """Puts hooks on members of a network. Make one for each network and keep it as long as the network."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._owners: dict[int, tuple[str, Member]] = {}
        self._broadcast: list[nn.Parameter] = []
        for member in members:
            if isinstance(member.kind, LayerKind):
                self._hook(member, member.kind)
                continue
            for name, parameter in member.kind.parameters(member.module).items():
                self._owners[id(parameter)] = name, member
                self._broadcast.append(parameter)

    def _hook(self, member: Member, kind: LayerKind) -> None:
        source = kind.source_module(member.module)
        if source is None:
            member.module.register_forward_pre_hook(self._before(member, kind), with_kwargs=True)
        else:
            source.register_forward_hook(lambda _, __, output: self._read(member, kind, output))
        kind.output_module(member.module).register_forward_hook(self._after(member))

    @contextmanager
    def record(self, batch: Batch) -> Iterator[Recording]:
        """Record the forward passes of this thread within the block. The parameters must not require gradients."""
        recording = Recording(self, batch)
        _open.recording = recording
        try:
            with torch.enable_grad(), self._substitution(recording):
                yield recording
        finally:
            _open.recording = None
            # They lead back to the recording through their hooks, a circle that the garbage collector does not see.
            recording.copies.clear()

    def _current(self) -> Recording | None:
        recording: Recording | None = getattr(_open, "recording", None)
        return recording if recording is not None and recording.recorder is self else None

    def _before(self, member: Member, kind: LayerKind) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
            self._read(member, kind, inputs[0] if inputs else next(iter(named.values())))

        return hook

    def _read(self, member: Member, kind: LayerKind, values: Tensor) -> None:
        recording = self._current()
        if recording is None:
            return
        rows = recording.batch.rows
        if values.shape[0] != rows and not (kind.reads_constants and values.shape[0] == 1):
            raise UnsupportedError(
                f"{member.name} reads {values.shape[0]} rows for {rows} inputs: it mixes inputs, or cuts them in parts,"
                " and their gradients cannot be told apart"
            )
        recording.reads[id(member)] = kind.read(member.module, values.detach(), recording.batch)

    def _after(self, member: Member) -> Callable[[nn.Module, Any, Tensor], Tensor | None]:
        def hook(_: nn.Module, __: Any, output: Tensor) -> Tensor | None:
            recording = self._current()
            if recording is None:
                return None
            terms = recording.reads.pop(id(member))
            if len(output) < recording.batch.rows:  # of constants: see LayerKind.reads_constants
                output = output.expand(recording.batch.rows, *output.shape[1:])
            return recording.follow(member, output, terms)

        return hook

    def _substitution(self, recording: Recording) -> AbstractContextManager[Any]:
        def copy(parameter: nn.Parameter) -> Tensor:
            if id(parameter) not in recording.copies:
                recording.copies[id(parameter)] = self._copy(recording, parameter)
            return recording.copies[id(parameter)]

        # It costs a little for every torch function.
        return Substitution(self._broadcast, copy) if self._broadcast else nullcontext()

    def _copy(self, recording: Recording, parameter: nn.Parameter) -> Tensor:
        name, member = self._owners[id(parameter)]

        def terms(grads: Tensor) -> Terms:
            return {name: Direct(recording.batch.total(grads))}

        rows = parameter.detach().expand(recording.batch.rows, *parameter.shape[1:])
        return recording.follow(member, rows, terms)
