"""Epochs over labelled images."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.func import functional_call

from models.training.classifier.augmenting import augmented
from models.training.classifier.averaging import AveragedWeights
from models.training.classifier.judging import Judged, in_precision, judge, logits_of
from models.training.classifier.losses import LOSSES, RowLoss, smoothed
from models.training.classifier.mixing import Mixed, mixed
from models.training.classifier.optimisers import OPTIMISERS
from models.training.classifier.plan import TrainPlan
from models.training.classifier.randomness import generator_for, seed_for
from models.training.classifier.rows import PixelRows
from models.training.classifier.saved import (
    Saved,
    State,
    network_state,
    optimiser_state,
    part,
    restore_optimiser,
    under,
)
from models.training.classifier.schedules import rate_share
from models.training.classifier.scope import training_mode
from models.training.classifier.sharing import Sharing

PointTold = Callable[[int, int, dict[str, Any] | None], None]


@dataclass(frozen=True, slots=True)
class EpochPoint:
    """One epoch: `loss`, `accuracy` and `confidence` are means over its batches, as augmented, while it was trained.

    `held_out` is of the weights at its end; of the averaged ones where the plan averages.
    """

    epoch: int
    loss: float
    accuracy: float
    confidence: float
    held_out: Judged

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        return cls(**{**found, "held_out": Judged(**found["held_out"])})


class DataPhase:
    """`curve` grows by a point an epoch."""

    def __init__(
        self,
        network: nn.Module,
        parameters: list[nn.Parameter],
        rows: PixelRows,
        held_out: PixelRows,
        plan: TrainPlan,
        device: torch.device,
        sharing: Sharing,
    ) -> None:
        self.network, self.rows, self.held_out, self.plan, self.device = network, rows, held_out, plan, device
        self.sharing, self.shared = sharing, sharing.wrap(network)
        self.optimiser = OPTIMISERS[plan.optimiser](parameters, plan.rate, plan.momentum, plan.weight_decay)
        self.averaged = AveragedWeights(network, plan.averaging) if plan.averaging else None
        self.batches = batches_of(len(rows), plan.batch)
        self.steps = self.batches * plan.epochs
        self.row_loss = _row_loss(plan)
        self.sums = torch.zeros(3, dtype=torch.float64, device=device)  # of this epoch: loss, correct, confidence
        self.curve: tuple[EpochPoint, ...] = ()
        self.best: State = {}
        self.step = 0

    def run(self, saved: Saved, told: PointTold) -> str:
        """To the end; returns why it ended."""
        self._resume(saved)
        order: tuple[Tensor, ...] = ()
        while (reason := self._why_over()) is None:
            epoch, batch = divmod(self.step, self.batches)
            if batch == 0 or not order:
                order = self._order(epoch)
            self._train(order[batch])
            self.step += 1
            ended = self.step % self.batches == 0
            if ended:
                self._end_epoch(epoch)
            if self.sharing.first and (ended or saved.is_due()):
                self._save(saved)
            told(self.step, self.steps, asdict(self.curve[-1]) if ended else None)
        return reason

    def result(self) -> State:
        """The state dict on the CPU: the best where the plan has patience, else the averaged or the last one."""
        state = self.best or (network_state(self.network) if self.averaged is None else self.averaged.state)
        return {name: tensor.cpu().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}

    def _order(self, epoch: int) -> tuple[Tensor, ...]:
        """Batches of nearly equal size, so that no row is left out and none stands alone."""
        places = torch.randperm(len(self.rows), generator=generator_for(self.plan.seed, "order", epoch))
        return places.tensor_split(self.batches)

    def _train(self, places: Tensor) -> None:
        plan, seed = self.plan, self.plan.seed
        numbers = (self.step, *self.sharing.own)
        pixels, labels = self.rows.read(self.sharing.share(places))
        pixels = augmented(pixels, plan.augmentation, generator_for(seed, "augmentation", *numbers))
        batch = mixed(
            self.rows.images(pixels, self.device),
            labels.to(self.device),
            plan.mixup,
            generator_for(seed, "mixup", *numbers),
        )
        self.optimiser.param_groups[0]["lr"] = plan.rate * rate_share(
            plan.schedule, plan.warm_up, self.step, self.steps
        )
        torch.manual_seed(seed_for(seed, "dropout", *numbers))
        training_mode(self.network, plan.scope)
        with in_precision(self.device, plan.precision):
            logits = logits_of(self.shared(batch.images))
        loss = batch.loss(self.row_loss, logits).mean()
        self.optimiser.zero_grad()
        self.sharing.weighted(loss, len(labels), len(places)).backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        if self.averaged is not None:
            self.averaged.update(self.network, self.step + 1)
        self._count(loss.detach(), logits.detach(), batch)

    def _count(self, loss: Tensor, logits: Tensor, batch: Mixed) -> None:
        confidence, predicted = logits.softmax(dim=1).max(dim=1)
        correct = (predicted == batch.labels).double().sum()
        rows = len(batch.labels)
        self.sums += self.sharing.total(torch.stack([loss.double() * rows, correct, confidence.double().sum()]))

    def _end_epoch(self, epoch: int) -> None:
        loss, accuracy, confidence = (self.sums / len(self.rows)).tolist()
        if not torch.isfinite(torch.tensor(loss)):
            raise ValueError(f"the loss is {loss} in epoch {epoch + 1}: try a lower rate, or a longer warm_up")
        self.sums.zero_()
        network = self.network if self.averaged is None else _With(self.network, self.averaged.state)
        found = self.sharing.agreed(lambda: judge(network, self.held_out, self.device, self.plan.precision))
        self.curve = (*self.curve, EpochPoint(epoch + 1, loss, accuracy, confidence, found))
        if self.plan.patience is not None and self._best_epoch() == len(self.curve):
            self.best = network_state(self.network) if self.averaged is None else dict(self.averaged.state)
            self.best = {name: tensor.clone() for name, tensor in self.best.items()}

    def _best_epoch(self) -> int:
        """Counted from 1; the first of equals."""
        return min(range(len(self.curve)), key=lambda place: self.curve[place].held_out.nll) + 1

    def _why_over(self) -> str | None:
        if self.step >= self.steps:
            return f"all {self.plan.epochs} epochs are done"
        patience, ended = self.plan.patience, self.step % self.batches == 0
        if patience is not None and self.curve and ended and len(self.curve) - self._best_epoch() >= patience:
            return f"{patience} epochs brought no better held-out NLL than epoch {self._best_epoch()}"
        return None

    def _save(self, saved: Saved) -> None:
        tensors = under("network", network_state(self.network)) | under("optimiser", optimiser_state(self.optimiser))
        tensors |= under("best", self.best) | {"sums": self.sums}
        if self.averaged is not None:
            tensors |= under("averaged", self.averaged.state)
        saved.save(tensors, {"step": self.step, "curve": [asdict(point) for point in self.curve]})

    def _resume(self, saved: Saved) -> None:
        found = saved.load()
        if found is None:
            return
        tensors, state = found
        self.network.load_state_dict(part("network", tensors))
        restore_optimiser(self.optimiser, part("optimiser", tensors))
        self.best = {name: tensor.to(self.device) for name, tensor in part("best", tensors).items()}
        self.sums = tensors["sums"].to(self.device)
        if self.averaged is not None:
            self.averaged.load(part("averaged", tensors))
        self.step = state["step"]
        self.curve = tuple(map(EpochPoint.from_dict, state["curve"]))


def batches_of(rows: int, batch: int) -> int:
    """How many an epoch has, of nearly equal size: of about `batch` rows and, for the batch norms, at least two."""
    return max(1, min(round(rows / batch), rows // 2))


class _With(nn.Module):
    """A network with other weights."""

    def __init__(self, network: nn.Module, state: State) -> None:
        super().__init__()
        self.network, self.held = network, {name: state[name] for name in _places(network) if name in state}

    def forward(self, images: Tensor) -> object:
        return functional_call(self.network, self.held, images, tie_weights=False)


def _places(network: nn.Module) -> Iterator[str]:
    """Names of parameters and buffers: of a module that has two names by one of them, of a shared tensor by each."""
    for prefix, module in network.named_modules():
        parts = (module.named_parameters, module.named_buffers)
        for name, _ in chain.from_iterable(each(recurse=False, remove_duplicate=False) for each in parts):
            yield f"{prefix}.{name}" if prefix else name


def _row_loss(plan: TrainPlan) -> RowLoss:
    return smoothed(plan.label_smoothing) if plan.label_smoothing else LOSSES[plan.loss]
