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

from models.backbones.prepared import build_network
from models.checkpoints.efficientnet_lite0 import HEAD, SEED, plan
from models.checkpoints.loss_rank_head import held_out, train_on_views
from models.checkpoints.package_weights import package_weights
from models.checkpoints.upstream import upstream_rows
from models.core.atomic import json_bytes, write_bytes
from models.feature_cache.image_rows import ImageRows
from models.feature_cache.view_plan import ViewPlan
from models.training.head_plan import HeadPlan
from models.training.loss_rank_head import TrainedHead

VIEWS = ViewPlan(count=16, seed=SEED)
PLAN = HeadPlan(width=64, depth=2, passes=4, seed=SEED)


def build(data: Path, cache: Path, path: Path, threads: int) -> None:
    """Write the head to `path`. The same machine, releases and data give the same bytes."""
    rows = upstream_rows(data, plan(data).fit.names)
    trained = train(data, rows, cache, threads)
    assert trained.best is not None, "the head has collapsed"
    told = {
        "plan": asdict(PLAN),
        "views": VIEWS.to_dict(),
        "held_out": len(held_out(rows.names, SEED)),
        "best": asdict(trained.best),
        "data": {"name": "images with ImageNet's classes", "rows": len(rows.names), "sha256": rows.sha256},
    }
    metadata = {"training": json_bytes(told).decode()}
    write_bytes(path, safetensors.torch.save(trained.head.state(), metadata))


def train(data: Path, rows: ImageRows, cache: Path, threads: int) -> TrainedHead:
    """On views of the upstream images; `threads` forward passes at once."""
    recipe = plan(data).recipe
    network = build_network(recipe.backbone, package_weights(recipe.backbone))
    return train_on_views(recipe, network, rows, VIEWS, PLAN, cache, threads)


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
