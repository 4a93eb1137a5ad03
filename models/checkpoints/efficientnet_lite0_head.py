"""Trains the loss-rank head that `efficientnet-lite0` ships: `python -m models.checkpoints.efficientnet_lite0_head`.

Takes views of some thousand images through the network first, about ten minutes on a core, into a cache that a second
run finds. The head itself takes seconds. `efficientnet_lite0.py` puts it into the checkpoint.
"""

import argparse
import logging
import os
from dataclasses import asdict
from pathlib import Path

import safetensors.torch
import torch

from models.backbones.prepared import build_network, prepare
from models.checkpoints.efficientnet_lite0 import GRADIENTS, HEAD, INPUT_SPEC, SEED, plan
from models.checkpoints.package_weights import package_weights
from models.checkpoints.upstream import upstream_rows
from models.core.atomic import json_bytes, write_bytes
from models.core.device import use_cores
from models.data.splits import split
from models.feature_cache.cache import FeatureCache
from models.feature_cache.fill import fill
from models.feature_cache.forward import ForwardPasses
from models.feature_cache.image_rows import ImageRows
from models.feature_cache.key import CacheKey
from models.feature_cache.view_plan import ViewPlan
from models.feature_cache.views import CachedViews
from models.training.head_plan import HeadPlan
from models.training.held_out_views import held_out_views
from models.training.loss_rank_head import TrainedHead, train_head

PRECISION = "bfloat16"
VIEWS = ViewPlan(count=16, seed=SEED)
HELD_OUT = 0.1
PLAN = HeadPlan(width=64, depth=2, passes=4, seed=SEED)

log = logging.getLogger(__name__)


def build(data: Path, cache: Path, path: Path, threads: int) -> None:
    """Write the head to `path`. The same machine, releases and data give the same bytes."""
    rows = upstream_rows(data, plan(data).fit.names)
    trained = train(data, rows, cache, threads)
    assert trained.best is not None, "the head has collapsed"
    told = {
        "plan": asdict(PLAN),
        "views": VIEWS.to_dict(),
        "held_out": len(held_out(rows)),
        "best": asdict(trained.best),
        "data": {"name": "images with ImageNet's classes", "rows": len(rows.names), "sha256": rows.sha256},
    }
    metadata = {"training": json_bytes(told).decode()}
    write_bytes(path, safetensors.torch.save(trained.head.state(), metadata))


def train(data: Path, rows: ImageRows, cache: Path, threads: int) -> TrainedHead:
    """On views of the upstream images; a tenth of the images is held out and says when to stop."""
    record, cpu = plan(data).recipe.backbone, torch.device("cpu")
    network = prepare(
        build_network(record, package_weights(record)), record.kind, INPUT_SPEC, cpu, PRECISION, plan=GRADIENTS
    )
    key = CacheKey.of(record, INPUT_SPEC, PRECISION, GRADIENTS, cpu, rows, views=VIEWS, logits=False)
    found = FeatureCache(cache, key)
    passes = ForwardPasses(network, rows, VIEWS, at_once=threads)
    fill(found, passes, lambda there: log.info("%d of %d views", there, key.total), threads=threads)
    views = CachedViews(found)
    use_cores(1)  # the number of threads decides the order of sums
    places = held_out(rows)
    return train_head(views, held_out_views(views, places), network.dimensions, PLAN, None, _told, places)


def held_out(rows: ImageRows) -> list[int]:
    """Places of the images whose views are not trained on."""
    held = set(split(rows.names, SEED, round(HELD_OUT * len(rows.names)))[0])
    return [place for place, name in enumerate(rows.names) if name in held]


def _told(step: int, steps: int, point: object) -> None:
    if point is not None:
        log.info("step %d of %d: %s", step, steps, point)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(os.environ.get("HOWSURE_TEST_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=default, help="folder with the labelled archives")
    parser.add_argument("--cache", type=Path, default=Path("build/loss_rank/cache"), help="where features are kept")
    parser.add_argument("--out", type=Path, default=HEAD)
    parser.add_argument("--threads", type=int, default=1, help="forward passes at once")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    build(arguments.data, arguments.cache, arguments.out, arguments.threads)


if __name__ == "__main__":
    main()
