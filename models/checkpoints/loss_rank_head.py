"""The loss-rank head of a shipped checkpoint: trained on views of labelled images, judged, and put into the version."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from models.backbones.prepared import PreparedNetwork, prepare
from models.calibration import calibrator
from models.core.checkpoint import Version
from models.core.device import use_cores
from models.data.splits import split
from models.feature_cache.cache import FeatureCache
from models.feature_cache.fill import fill
from models.feature_cache.forward import ForwardPasses
from models.feature_cache.image_rows import ImageRows
from models.feature_cache.key import CacheKey
from models.feature_cache.view_plan import ViewPlan
from models.feature_cache.views import CachedViews
from models.training.build import Recipe
from models.training.from_archives import Plan, part_of
from models.training.head_curve import CurvePoint
from models.training.head_plan import HeadPlan
from models.training.held_out_views import held_out_views
from models.training.loss_rank_gate import LossRankGate
from models.training.loss_rank_head import TrainedHead, train_head
from models.training.loss_rank_version import HeadOrigin, judge_head, with_loss_rank
from models.uncertainty.loss_rank import LossRank

PRECISION = "bfloat16"  # of the features that the head is trained on; it serves in every precision
HELD_OUT = 0.1  # of the images

log = logging.getLogger(__name__)


def train_on_views(
    recipe: Recipe, network: nn.Module, rows: ImageRows, views: ViewPlan, plan: HeadPlan, cache: Path, threads: int
) -> TrainedHead:
    """A head for the recipe's `network`; some of the images are held out and say when to stop.

    Features of the views are kept below `cache`, for which `threads` forward passes run at once; their number changes
    no byte of the head.
    """
    prepared, cpu = _prepared(recipe, network, PRECISION), torch.device("cpu")
    key = CacheKey.of(
        recipe.backbone, recipe.input_spec, PRECISION, recipe.gradients, cpu, rows, views=views, logits=False
    )
    found = FeatureCache(cache, key)
    passes = ForwardPasses(prepared, rows, views, at_once=threads)
    fill(found, passes, lambda there: log.info("%d of %d views", there, key.total), threads=threads)
    cached, places = CachedViews(found), held_out(rows.names, plan.seed)
    use_cores(1)  # the number of threads decides the order of sums
    return train_head(cached, held_out_views(cached, places), prepared.dimensions, plan, None, _told, places)


def held_out(names: Sequence[str], seed: int) -> list[int]:
    """Places of the images whose views are not trained on."""
    held = set(split(names, seed, round(HELD_OUT * len(names)))[0])
    return [place for place, name in enumerate(names) if name in held]


def with_head(
    version: Version, planned: Plan, network: nn.Module, state: dict[str, Tensor], origin: HeadOrigin
) -> Version:
    """The version and a head of this state, referred to the rows to fit on and judged by the first of the others."""
    recipe, judged = planned.recipe, {}
    for precision in recipe.precisions:
        prepared = _prepared(recipe, network, precision)
        head = LossRank(prepared.dimensions).load_state(state)
        method = calibrator(recipe.calibrator)(prepared.dimensions)
        method.load_state(version.method_state(precision, "calibrator"))
        fitting, judging = part_of(prepared, planned.fit), part_of(prepared, planned.judge[0])
        judged[precision] = judge_head(version, prepared, method, head, fitting, judging, recipe.seed)
    return with_loss_rank(version, head, judged, LossRankGate("r_auroc"), origin, judging.note)


def _prepared(recipe: Recipe, network: nn.Module, precision: str) -> PreparedNetwork:
    kind, spec = recipe.backbone.kind, recipe.input_spec
    return prepare(network, kind, spec, torch.device("cpu"), precision, plan=recipe.gradients)


def _told(step: int, steps: int, point: CurvePoint | None) -> None:
    if point is not None:
        log.info("step %d of %d: %s", step, steps, point)
