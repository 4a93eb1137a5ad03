"""Heads trained on views of the upstream images, and the views that they are stopped and judged by."""

from collections.abc import Collection
from functools import cache

from torch import Tensor

from models.training.head_plan import HeadPlan
from models.training.held_out_views import held_out_views
from models.training.loss_rank_head import TrainedHead, train_head
from tests.benchmarks.loss_rank.chosen_views import ChosenViews
from tests.benchmarks.loss_rank.upstream import Places, lite0, upstream_rows, upstream_views

PLAN = HeadPlan(passes=4)


@cache
def places() -> Places:
    return Places.of(upstream_rows())


@cache
def training_views() -> ChosenViews:
    return ChosenViews.of(upstream_views(), places().train)


@cache
def stopping_views() -> tuple[Tensor, Tensor]:
    """Features (M, D) and losses (M,)."""
    return held_out_views(upstream_views(), places().stop)


@cache
def judging_views() -> tuple[Tensor, Tensor]:
    """Features (M, D) and losses (M,), neither trained on nor stopped by."""
    return held_out_views(upstream_views(), places().judge)


def trained(plan: HeadPlan, images: Collection[int]) -> TrainedHead:
    """On views of `images`, which are some of those to train on."""
    views = ChosenViews.of(training_views(), images)
    return train_head(views, stopping_views(), lite0().dimensions, plan, None, lambda done, steps, point: None)


def described() -> dict[str, str]:
    """What a report says of the training."""
    parts = places()
    return {
        "head": f"trained on the views of {len(parts.train)} upstream images, stopped by those of {len(parts.stop)}"
        f" others; {PLAN}",
    }
