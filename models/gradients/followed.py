"""One forward pass, followed: which modules it calls, in what order, and what a recorded one would hold."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from models.core.errors import UnsupportedError
from models.gradients.broadcast import BroadcastKind, Substitution
from models.gradients.layer_kind import LayerKind

Kinds = Mapping[nn.Module, LayerKind | BroadcastKind]


@dataclass(slots=True)
class Followed:
    """`uses` counts the calls of each module, in the order in which each was first done."""

    kinds: Kinds
    uses: Counter[nn.Module] = field(default_factory=Counter)
    bytes_a_row: int = 1
    _running: list[nn.Module] = field(default_factory=list)
    _rows_read: list[tuple[nn.Module, int]] = field(default_factory=list)
    _storages: dict[int, torch.UntypedStorage] = field(default_factory=dict)
    _copied: int = 0

    def check_rows(self, rows: int) -> None:
        """Raises UnsupportedError for a module that was not given one row an input."""
        for module, read in self._rows_read:
            kind = self.kinds[module]
            constant = isinstance(kind, LayerKind) and kind.reads_constants and read == 1
            if read != rows and not constant:
                raise UnsupportedError(
                    f"{type(module).__name__} reads {read} rows for {rows} inputs: it mixes inputs, or cuts them in"
                    " parts, and their gradients cannot be told apart"
                )

    def held(self) -> int:
        """Bytes that were kept for a backward pass, and that the layer kinds keep for theirs."""
        return self._copied + sum(storage.nbytes() for storage in self._storages.values())

    def before(self, module: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        self._running.append(module)
        kind, read = self.kinds[module], inputs[0] if inputs else next(iter(named.values()))
        if isinstance(kind, BroadcastKind) or kind.source_module(module) is not None:
            return
        self._rows_read.append((module, read.shape[0]))
        copied = kind.held(module, read)
        self._copied += copied
        if not copied:
            self.keep(read)

    def after(self, module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        self._running.pop()
        if isinstance(self.kinds[module], BroadcastKind):
            return None
        self.uses[module] += 1
        return None if output.requires_grad else output.detach().requires_grad_().clone()

    def keep(self, values: Tensor) -> Tensor:
        storage = values.untyped_storage()
        self._storages[storage.data_ptr()] = storage
        return values

    def parameter_used(self, parameter: nn.Parameter) -> Tensor:
        """Raises UnsupportedError where code other than its module's own uses it: no hook sees what for."""
        for module in reversed(self._running):
            if any(parameter is own for own in module.parameters(recurse=False)):
                if isinstance(self.kinds[module], BroadcastKind):
                    self.uses.setdefault(module, 1)
                return parameter.detach()
        raise UnsupportedError(
            f"a parameter {tuple(parameter.shape)} is used outside of the module that it belongs to, so its gradients"
            " are not known"
        )


def follow(kinds: Kinds, forward: Callable[[], Tensor]) -> Followed:
    """Run `forward` once. Raises UnsupportedError where gradients could not be told apart by input or parameter."""
    followed = Followed(kinds)
    hooks = [module.register_forward_pre_hook(followed.before, with_kwargs=True) for module in kinds]
    hooks += [module.register_forward_hook(followed.after) for module in kinds]
    parameters = [parameter for module in kinds for parameter in module.parameters(recurse=False)]
    try:
        with (
            torch.enable_grad(),
            Substitution(parameters, followed.parameter_used),
            torch.autograd.graph.saved_tensors_hooks(followed.keep, lambda kept: kept),
        ):
            rows = len(forward())
    finally:
        for hook in hooks:
            hook.remove()
    followed.check_rows(rows)
    own = {parameter.untyped_storage().data_ptr() for parameter in parameters}
    for storage in own & followed._storages.keys():
        del followed._storages[storage]
    followed.bytes_a_row = max(1, followed.held() // rows)
    return followed
