"""A loss-rank head on what a language model makes of a prompt: the final state of the token that the answer follows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import nll_loss

from models.answers import ScoredReference
from models.core.checkpoint import Version
from models.core.golden import GoldenRow
from models.core.method import Dimensions, UncertaintyScore
from models.core.outputs import ModelOutputs
from models.feature_cache.view_rows import ViewRows
from models.language.pipeline import LanguagePipeline, language_dimensions
from models.training.head_plan import HeadPlan
from models.training.loss_rank_head import Told, TrainedHead, train_head
from models.training.loss_rank_report import judged_rows, loss_rank_record
from models.training.prompts.version import PromptPart, reference_on, served_outputs
from models.training.rescored import score_names
from models.uncertainty import score
from models.uncertainty.loss_rank import LossRank

NAME = LossRank.name


class PromptViews:
    """Prompts as a training of a head reads them: there are no views of a prompt, so each is read `times` over."""

    def __init__(self, outputs: ModelOutputs, labels: Tensor, times: int, seed: int) -> None:
        self.features, self.losses, self.labels = outputs.require_features(), prompt_losses(outputs, labels), labels
        generator = torch.Generator().manual_seed(seed)
        self._order = torch.cat([torch.randperm(len(labels), generator=generator) for _ in range(times)])

    @property
    def total(self) -> int:
        return len(self._order)

    def read(self, start: int, stop: int) -> ViewRows:
        if not 0 <= start < stop <= self.total:
            raise ValueError(f"rows {start} to {stop} asked for, there are {self.total}")
        rows = self._order[start:stop]
        return ViewRows(self.features[rows], self.losses[rows], self.labels[rows], rows)


def prompt_losses(outputs: ModelOutputs, labels: Tensor) -> Tensor:
    """(N,): cross-entropy of the network's own probabilities of the choices."""
    return nll_loss(outputs.log_probabilities(), labels, reduction="none")


def train_on_prompts(
    outputs: ModelOutputs,
    labels: Tensor,
    held: Sequence[int],
    times: int,
    dimensions: Dimensions,
    plan: HeadPlan,
    folder: Path | None,
    told: Told,
) -> TrainedHead:
    """A head trained on N prompts read `times` over, but for those at the places `held`: these say when to stop.

    Labels (N,) int64 are the places of the right choices; `folder`, `told` and errors are those of `train_head`.
    """
    apart = outputs.require_features()[held], prompt_losses(outputs, labels)[held]
    views = PromptViews(outputs, labels, times, plan.seed)
    return train_head(views, apart, dimensions, plan, folder, told, held)


@dataclass(frozen=True, slots=True)
class RankedPrompts:
    """What came of one precision: the version as it is to be, and figures of the head."""

    pipeline: LanguagePipeline
    record: dict[str, Any]

    @property
    def scores(self) -> Mapping[str, ScoredReference]:
        return self.pipeline.scores

    def golden_rows(self, seeds: tuple[int, ...]) -> tuple[GoldenRow, ...]:
        return tuple(self.pipeline.golden_rows(seeds))


def rank_prompts(
    version: Version, serves: LanguagePipeline, head: LossRank, fitting: PromptPart, judging: PromptPart, seed: int
) -> RankedPrompts:
    """References of `fitting` rows, figures of `judging` rows, which the head was not trained on.

    The other scores of `version`, which `serves`, stay; without any it gets those that need no training. No figure is
    of a row's neighbours: that two right answers are both called B does not make two questions alike.
    """
    device, names = serves.language.device, score_names(version.manifest, NAME)
    outputs = served_outputs(serves, fitting)
    before = serves.scores.get(NAME)
    serving = None if before is None else before.score.to(outputs.logits.device)
    assert serving is None or isinstance(serving, LossRank)
    judged = judged_rows(served_outputs(serves, judging), judging.labels, head, serving)
    record = loss_rank_record(replace(judged, neighbour_right=None), serves.language.precision, seed)
    new = {name: _new(name, serves, head) for name in names if name == NAME or name not in serves.scores}
    scores = {name: reference_on(outputs, new[name], device) if name in new else serves.scores[name] for name in names}
    return RankedPrompts(LanguagePipeline(serves.language, serves.prompts, serves.prompt_calibrator, scores), record)


def _new(name: str, serves: LanguagePipeline, head: LossRank) -> UncertaintyScore:
    """A head of its own for each precision, since it is moved to the device of each."""
    dimensions = language_dimensions(serves.language)
    return LossRank(dimensions).load_state(head.state()) if name == NAME else score(name)(dimensions)
