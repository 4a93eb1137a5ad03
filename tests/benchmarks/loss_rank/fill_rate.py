"""The rate of filling a cache of views, beside that of the forward pass alone, and the bytes that are stored."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.feature_cache.augment import augmented
from models.feature_cache.cache import FeatureCache
from models.feature_cache.fill import fill
from models.feature_cache.forward import ForwardPasses
from models.feature_cache.image_rows import ImageRows
from models.feature_cache.room import size_of
from models.feature_cache.row_format import Floats, RowFormat
from models.feature_cache.view_plan import ViewPlan
from tests.benchmarks.epistemic.tables import Table
from tests.benchmarks.loss_rank.upstream import CACHE, cache_key, lite0, upstream_rows, upstream_views

VIEWS_OF_PAPER = 92_000_000
FLOATS: tuple[Floats, ...] = ("float32", "float16")
FILL, LOOP, BARE = "fill the cache", "the same loop, nothing written", "forward passes on ready pixels"


def rates(images: int, rounds: int) -> dict[str, list[float]]:
    """Views a second, round by round, each round of other views of the same images."""
    rows = upstream_rows()
    some = replace(rows, names=rows.names[-images:], labels=rows.labels[-images:])
    found: dict[str, list[float]] = {FILL: [], LOOP: [], BARE: []}
    for round_ in range(rounds + 1):
        with tempfile.TemporaryDirectory(dir=CACHE.parent) as folder:
            ways = _ways(some, ViewPlan(1, seed=round_), Path(folder))
            for name, way in ways.items():
                began = time.perf_counter()
                way()
                if round_:  # the first one makes kernels
                    found[name].append(images / (time.perf_counter() - began))
    return found


def _ways(rows: ImageRows, views: ViewPlan, folder: Path) -> dict[str, Callable[[], object]]:
    """Each has passes of its own, so that none finds what another has decoded."""
    network = lite0()
    cache = FeatureCache(folder, cache_key(rows, views))
    filling, looping, ready = (ForwardPasses(network, rows, views, at_once=1) for _ in range(3))
    pixels = ready_pixels(ready)
    return {
        FILL: lambda: fill(cache, filling, lambda there: None, threads=1),
        LOOP: lambda: _computed(looping),
        BARE: lambda: [network.outputs(part) for part in pixels],
    }


def ready_pixels(passes: ForwardPasses) -> list[NDArray[np.uint8]]:
    """The first view of every image, in the batches of the passes."""
    images = passes.order.positions(0, len(passes.rows.names)).tolist()
    found = [
        augmented(picture, passes.network.input_spec, passes.order.plan, image, 0)
        for image, picture in zip(images, passes.pictures.read(images), strict=True)
        if isinstance(picture, Image.Image)
    ]
    size = passes.batch_rows
    return [np.stack(found[start : start + size]) for start in range(0, len(found), size)]


def _computed(passes: ForwardPasses) -> None:
    for start in range(0, passes.total, passes.batch_rows):
        passes.compute(start, min(start + passes.batch_rows, passes.total))


def rates_table(found: Mapping[str, Sequence[float]]) -> Table:
    rows = {}
    for name, of_way in found.items():
        ratios = sorted(fill / other for fill, other in zip(found[FILL], of_way, strict=True))
        rows[name] = [f"{median(of_way):.1f}", f"{median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"]
    return Table("Rate of filling", "way", ["views a second", "filling ÷ this (lowest to highest)"], rows)


def bytes_table(per_second: float) -> Table:
    """What is stored of a view by format, and of the paper's views; `per_second` are filled on this core."""
    sizes, rows = lite0().dimensions, {}
    for name, classes in (("features, label and loss", None), ("and logits", sizes.classes)):
        for floats in FLOATS:
            size = RowFormat(sizes.features, floats, classes).row_bytes
            rows[f"{name}, {floats}"] = [f"{size:,}", f"{size * VIEWS_OF_PAPER / 1e9:,.0f}"]
    cache = upstream_views().cache
    measured = size_of(cache.folder) / cache.key.total
    rows["on disk here, all files"] = [f"{measured:,.1f}", f"{measured * VIEWS_OF_PAPER / 1e9:,.0f}"]
    days = VIEWS_OF_PAPER / per_second / 86400
    title = f"Bytes a view; 92 million views would take this core {days:,.0f} days to fill"
    return Table(title, "stored", ["bytes a view", "GB for 92 million views"], rows)
