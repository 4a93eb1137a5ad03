"""Whether u follows people's doubt: CIFAR-10H's entropy, for a CIFAR-10 network's own head and for Lite0's."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import torch

from models.backbones.prepared import PreparedNetwork
from models.checkpoints.efficientnet_lite0_head import PLAN
from models.core.checkpoint import file_sha256
from models.core.input_spec import InputSpec
from models.core.manifest import BackboneRecord
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
from models.metrics.aleatoric import human_correlation
from models.metrics.ranking import auroc
from models.metrics.retrieval import nearest_is_right
from models.training.held_out_views import held_out_views
from models.training.loss_rank_head import train_head
from models.uncertainty.loss_rank import LossRank
from tests.benchmarks.epistemic.cifar10_network import DATA, WEIGHTS, trained_network
from tests.benchmarks.epistemic.sets import SEED
from tests.benchmarks.epistemic.strips import MEAN, STD
from tests.benchmarks.epistemic.subject import cifar10_subject
from tests.benchmarks.epistemic.tables import Table
from tests.benchmarks.loss_rank.image_rows import strip_images
from tests.benchmarks.loss_rank.runs import spread
from tests.benchmarks.loss_rank.scores import baselines
from tests.benchmarks.loss_rank.upstream import CACHE, outputs_of

SPEC = InputSpec(height=32, width=32, resize=32, interpolation="bicubic", mean=MEAN, std=STD, draft=False)
TRAINED, VIEWS = 10_000, ViewPlan(count=8, seed=SEED, scale=(0.25, 1.0))
HELD_OUT = 0.1


@cache
def small_network() -> PreparedNetwork:
    """The ResNet-20 of the epistemic benchmarks, in float32."""
    cut = cifar10_subject(trained_network()).backbone
    return PreparedNetwork(cut.trunk, cut.head, SPEC, torch.device("cpu"), "float32")


def filled(rows: ImageRows, views: ViewPlan | None) -> FeatureCache:
    record = BackboneRecord(kind="benchmark", name="resnet20", arguments={}, sha256=file_sha256(WEIGHTS))
    key = CacheKey.of(record, SPEC, "float32", None, torch.device("cpu"), rows, views=views, logits=views is None)
    found = FeatureCache(CACHE, key)
    fill(found, ForwardPasses(small_network(), rows, views, at_once=1), lambda there: None, threads=1)
    return found


def small_heads(seeds: int) -> list[LossRank]:
    """Trained on views of training images, of which the network has seen other crops."""
    rows = strip_images(DATA / "cifar10_train.npz", TRAINED)
    views = CachedViews(filled(rows, VIEWS))
    held = set(split(rows.names, SEED, round(HELD_OUT * TRAINED))[0])
    stop = [place for place, name in enumerate(rows.names) if name in held]
    rest, dimensions = held_out_views(views, stop), small_network().dimensions
    plans = [replace(PLAN, seed=SEED + number) for number in range(seeds)]
    return [train_head(views, rest, dimensions, plan, None, lambda *_: None, stop).head for plan in plans]


def human_table(lite0_heads: Sequence[LossRank], seeds: int) -> Table:
    """On the 5,000 test images whose people's labels are at hand."""
    rows = strip_images(DATA / "cifar10_test_shared.npz", 5000)
    with np.load(DATA / "cifar10h_shared.npz") as found:
        people = torch.from_numpy(found["probs"])[[int(name.split("/")[1]) for name in rows.names]]
    labels = torch.from_numpy(rows.labels)
    own = CachedOutputs(filled(rows, None)).take(range(len(rows.names)))[0]
    columns = ["Spearman with people's entropy", "AUROC of being wrong", "R-AUROC"]
    table = _rows("ResNet-20, CIFAR-10", own, small_heads(seeds), labels, people, classifier=True)
    table |= _rows("EfficientNet-Lite0, ImageNet", outputs_of(rows), lite0_heads, labels, people, classifier=False)
    return Table("CIFAR-10 test images and CIFAR-10H", "network, score", columns, table)


def _rows(
    network: str,
    outputs: ModelOutputs,
    heads: Sequence[LossRank],
    labels: torch.Tensor,
    people: torch.Tensor,
    *,
    classifier: bool,
) -> dict[str, list[str | float | None]]:
    right = nearest_is_right(outputs.require_features(), labels)
    wrong = outputs.logits.argmax(dim=1) != labels
    values = {"loss rank": [head.score(outputs) for head in heads]}
    values |= {name: [value] for name, value in baselines(outputs).items()}
    return {
        f"{network}: {name}": [
            spread([human_correlation(u, people) for u in several]),
            spread([auroc(u, wrong) for u in several]) if classifier else None,
            spread([auroc(-u, right) for u in several]),
        ]
        for name, several in values.items()
    }
