"""What each score costs on top of the forward pass: `python -m tests.benchmarks.scores`. In one process, no HTTP."""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from app.scoring.catalog import Catalog
from app.scoring.predictor import Predictor
from app.settings import Settings
from models.core.image import read_image
from tests.benchmarks.picture import photograph

FORWARD = "forward pass"


def shipped_predictor() -> Predictor:
    """The shipped checkpoint as the service loads it, with default settings."""
    with tempfile.TemporaryDirectory(prefix="howsure-bench-") as folder:
        catalog = Catalog(Settings(store=Path(folder)))
        catalog.load()
        return catalog.get(None)


def pixels(predictor: Predictor, batch: int) -> NDArray[np.uint8]:
    spec = predictor.pipeline.network.input_spec
    return np.stack([spec.pixels(read_image(photograph(), spec))] * batch)


def ways(predictor: Predictor, batch: int) -> dict[str, Callable[[], Any]]:
    """What is timed: the forward pass, then calibration and top 5, then those with each score, then with all."""
    pipeline, images = predictor.pipeline, pixels(predictor, batch)
    found: dict[str, Callable[[], Any]] = {FORWARD: lambda: pipeline.network.outputs(images)}
    found["+ calibration, top 5"] = lambda: pipeline.answer(images, (), 5)
    for name in pipeline.scores:
        found[f"+ {name}"] = lambda name=name: pipeline.answer(images, (name,), 5)  # type: ignore[misc]
    found["+ every score"] = lambda: pipeline.answer(images, tuple(pipeline.scores), 5)
    return found


def interleaved(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each call, taken in turn, since a machine drifts."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(repeats):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - started)
    return taken


def table(predictor: Predictor, batch: int, repeats: int) -> Table:
    taken = interleaved(ways(predictor, batch), repeats)
    network = predictor.pipeline.network
    shown = Table("", "ms an image", "÷ forward pass", title=f"batch of {batch}, {network.precision}, {network.device}")
    for name, seconds in taken.items():
        ratio = median(mine / alone for mine, alone in zip(seconds, taken[FORWARD], strict=True))
        shown.add_row(name, f"{1000 * median(seconds) / batch:.3f}", f"{ratio:.3f}")
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1, help="cores of a forward pass; under load a batch gets one")
    given = parser.parse_args()
    predictor = shipped_predictor()
    torch.set_num_threads(given.threads)
    for batch in given.batch:
        Console().print(table(predictor, batch, given.repeats))


if __name__ == "__main__":
    main()
