"""Training a loss-rank head on views of images: consecutive batches of a source, as it has shuffled them.

Features come detached and the network is not there, so nothing of it can change. Views are read a batch at a time.
"""

import hashlib
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.core.errors import DataError
from models.core.method import Dimensions
from models.feature_cache.view_rows import ViewRows, ViewSource
from models.training import head_progress
from models.training.head_curve import CurvePoint, HeldOut, best_point, is_exhausted
from models.training.head_plan import HeadPlan
from models.training.head_progress import Progress
from models.training.ranking_loss import LOSSES
from models.uncertainty.loss_rank import LossRank, initial_state, loss_ranks

Told = Callable[[int, int, CurvePoint | None], None]  # steps done, steps in all, and the check that followed, if any


@dataclass(frozen=True, slots=True)
class TrainedHead:
    """The head of the best check; `best` is None where it has collapsed: at every check all held-out rows got one u."""

    head: LossRank
    curve: tuple[CurvePoint, ...]
    best: CurvePoint | None


def train_head(
    views: ViewSource,
    held_out: tuple[Tensor, Tensor],
    dimensions: Dimensions,
    plan: HeadPlan,
    folder: Path | None,
    told: Told,
    held_out_images: Collection[int] = (),
) -> TrainedHead:
    """Train until all passes are done or the checks bring nothing better; `told` is called after every step.

    `held_out` are features (M, D) and losses (M,); views of `held_out_images` (places as in `ViewRows.images`) are
    skipped, so batches hold fewer rows by that share. The state is saved in `folder` at each check; a run that ended
    anyhow, as by an error from `told`, goes on from there, with equal weights on the same number of threads. Trains on
    the device of the held-out features. Raises ValueError for rows that do not fit the dimensions or cannot be judged
    by, and where the head diverges, DataError where no view is left or `folder` is of another training.
    """
    return _Training(views, HeldOut(*held_out), dimensions, plan, held_out_images).run(folder, told)


class _Training:
    def __init__(
        self,
        views: ViewSource,
        held_out: HeldOut,
        dimensions: Dimensions,
        plan: HeadPlan,
        held_out_images: Collection[int],
    ) -> None:
        if held_out.features.shape[1] != dimensions.features:
            wide = held_out.features.shape[1]
            raise ValueError(f"held-out features are {wide} wide, the head is for {dimensions.features}")
        if views.total < 1:
            raise DataError("there are no views to train on")
        self.views, self.held_out, self.plan, self.dimensions = views, held_out, plan, dimensions
        self.skipped = _places(held_out_images)
        self.batches = -(-views.total // plan.batch)
        self.steps = self.batches * plan.passes
        self.device = held_out.features.device

    def run(self, folder: Path | None, told: Told) -> TrainedHead:
        progress = self.start()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            progress = head_progress.load(progress, folder, self.key())
        losses: list[Tensor] = []
        while progress.step < self.steps and not is_exhausted(progress.curve, self.plan.patience):
            losses += self.step(progress)
            progress = replace(progress, step=progress.step + 1)
            point = None
            if losses and self.plan.is_check(progress.step, self.steps):
                progress = self.check(progress, losses)
                point, losses = progress.curve[-1], []
                if folder is not None:
                    head_progress.save(progress, folder, self.key())
            told(progress.step, self.steps, point)
        if not progress.curve:
            raise DataError("no view is left to train on: all are of held-out or unreadable images; send more images")
        head = LossRank(self.dimensions).load_state(progress.best)
        return TrainedHead(head, progress.curve, best_point(progress.curve))

    def start(self) -> Progress:
        untrained = LossRank(self.dimensions, self.plan.width, self.plan.depth)
        state = initial_state(untrained, torch.Generator().manual_seed(self.plan.seed))
        parameters = {name: nn.Parameter(tensor.to(self.device, copy=True)) for name, tensor in state.items()}
        optimiser = torch.optim.AdamW(parameters.values(), weight_decay=self.plan.weight_decay, fused=True)
        return Progress(parameters, optimiser, state, (), 0)

    def step(self, progress: Progress) -> list[Tensor]:
        """The loss of one batch, as a list that is empty where no row of the batch is to be trained on."""
        rows = self.read(progress.step % self.batches)
        if len(rows.losses) == 0:
            return []
        optimiser, plan = progress.optimiser, self.plan
        optimiser.param_groups[0]["lr"] = plan.rate_at(progress.step, self.steps)
        optimiser.zero_grad()
        values = loss_ranks(progress.parameters, rows.features.to(self.device))
        loss = LOSSES[plan.loss](values, rows.losses.to(self.device), plan.margin, plan.dead_zone)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return [loss.detach()]

    def read(self, batch: int) -> ViewRows:
        start = batch * self.plan.batch
        rows = self.views.read(start, min(start + self.plan.batch, self.views.total))
        if len(self.skipped) == 1:
            return rows
        kept = ~self.skipped[rows.images.clamp_max(len(self.skipped) - 1)]
        return ViewRows(rows.features[kept], rows.losses[kept], rows.labels[kept], rows.images[kept])

    def check(self, progress: Progress, losses: list[Tensor]) -> Progress:
        now = {name: parameter.detach() for name, parameter in progress.parameters.items()}
        found = self.held_out.judge(loss_ranks(now, self.held_out.features))
        point = CurvePoint(progress.step, float(torch.stack(losses).mean()), found)
        curve = (*progress.curve, point)
        is_best = best_point(curve) in (point, None)
        best = {name: tensor.cpu().clone() for name, tensor in now.items()} if is_best else progress.best
        return replace(progress, curve=curve, best=best)

    def key(self) -> dict[str, Any]:
        """What a training that goes on must have in common with the one that was saved."""
        judged = self.held_out.losses.detach().cpu().contiguous()
        return {
            "plan": asdict(self.plan),
            "features": self.dimensions.features,
            "views": self.views.total,
            "held_out_losses": hashlib.sha256(judged.numpy().tobytes()).hexdigest(),
            "held_out_images": int(self.skipped.sum()),
        }


def _places(images: Collection[int]) -> Tensor:
    """(largest + 2,) bool, True at the images' places; the last one is False, for all that come after."""
    places = torch.zeros(max(images, default=-1) + 2, dtype=torch.bool)
    places[torch.tensor(list(images), dtype=torch.int64)] = True
    return places
