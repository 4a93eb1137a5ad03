"""What the benchmarks of Lite0's heads share: the network as served, the images its heads are trained on, their views.

The cache is the one that the shipped head is trained from, so that whoever comes first fills it.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from models.backbones.prepared import PreparedNetwork, build_network, prepare
from models.checkpoints import upstream
from models.checkpoints.efficientnet_lite0 import GRADIENTS, INPUT_SPEC, plan
from models.checkpoints.efficientnet_lite0_head import VIEWS
from models.checkpoints.loss_rank_head import HELD_OUT, PRECISION
from models.checkpoints.package_weights import package_weights
from models.core.outputs import ModelOutputs
from models.data.splits import split
from models.feature_cache.cache import FeatureCache
from models.feature_cache.fill import fill
from models.feature_cache.forward import ForwardPasses
from models.feature_cache.image_rows import ImageRows
from models.feature_cache.key import CacheKey
from models.feature_cache.outputs import CachedOutputs
from models.feature_cache.view_plan import ViewPlan
from models.feature_cache.views import CachedViews
from tests.benchmarks.epistemic.cifar10_network import DATA
from tests.benchmarks.epistemic.sets import SEED

CACHE = Path("build/loss_rank/cache")


@dataclass(frozen=True, slots=True)
class Places:
    """Which images say when to stop, which judge, which are trained on: places among the rows, disjoint."""

    stop: tuple[int, ...]
    judge: tuple[int, ...]
    train: tuple[int, ...]

    @classmethod
    def of(cls, rows: ImageRows) -> "Places":
        """Those to stop by are the shipped head's; as many again judge."""
        held, place = round(HELD_OUT * len(rows.names)), {name: number for number, name in enumerate(rows.names)}
        parts = split(rows.names, SEED, held, held, len(place) - 2 * held)
        return cls(*(tuple(sorted(place[name] for name in part)) for part in parts))


@cache
def lite0() -> PreparedNetwork:
    """EfficientNet-Lite0 as the shipped checkpoint serves it, on the CPU in bfloat16."""
    record = plan(DATA).recipe.backbone
    network = build_network(record, package_weights(record))
    return prepare(network, record.kind, INPUT_SPEC, torch.device("cpu"), PRECISION, plan=GRADIENTS)


@cache
def upstream_rows() -> ImageRows:
    return upstream.upstream_rows(DATA, plan(DATA).fit.names)


def upstream_views() -> CachedViews:
    return CachedViews(filled(upstream_rows(), VIEWS))


def outputs_of(rows: ImageRows) -> ModelOutputs:
    """Logits and features of images as they are served, from a cache, in their order. All must be readable."""
    return CachedOutputs(filled(rows, None)).take(range(len(rows.names)))[0]


def filled(rows: ImageRows, views: ViewPlan | None, root: Path = CACHE) -> FeatureCache:
    """The cache of these rows, made where it is not there; a run that was interrupted goes on."""
    found = FeatureCache(root, cache_key(rows, views))
    fill(found, ForwardPasses(lite0(), rows, views, at_once=1), lambda there: None, threads=1)
    return found


def cache_key(rows: ImageRows, views: ViewPlan | None) -> CacheKey:
    record, cpu = plan(DATA).recipe.backbone, torch.device("cpu")
    return CacheKey.of(record, INPUT_SPEC, PRECISION, GRADIENTS, cpu, rows, views=views, logits=views is None)


def described() -> dict[str, str]:
    """What a report says of the network and the upstream images."""
    counts = Counter(name.split("/")[0] for name in upstream_rows().names)
    parts = ", ".join(f"{count} of {source}" for source, count in counts.items())
    return {
        "network": f"EfficientNet-Lite0 as shipped, {PRECISION}",
        "upstream": f"{counts.total()} images: {parts}; {VIEWS.count} views of each, seed {VIEWS.seed}",
    }
