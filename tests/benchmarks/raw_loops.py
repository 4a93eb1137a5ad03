"""The same work without HTTP, in one process: decode, preprocess, batched forward. Prints one JSON line.

    python -m tests.benchmarks.raw_loops bfloat16 --batch 16 --seconds 5

Three schedules are tried briefly and the fastest is then measured: one thread after another (`sequence`), decoding the
next batch while this one runs (`overlap`), and one single-threaded loop a core (`lanes`). For a batch of 1, which
stands for a lone client with one picture at a time, there is nothing to overlap with.
"""

import argparse
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from models.core.image import read_image
from tests.benchmarks.load import Result, percentile_ms
from tests.benchmarks.picture import photograph
from tests.benchmarks.plain import PlainModel, howsure_network

CORES = len(os.sched_getaffinity(0))
TRIAL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Loop:
    """What a schedule runs: `decode` one picture, `forward` a list of decoded ones."""

    decode: Callable[[bytes], Any]
    forward: Callable[[list[Any]], Any]


def plain_loop(precision: str, channels_last: bool, compiled: bool = False) -> Loop:
    model = PlainModel(precision, channels_last, compiled)
    return Loop(model.decode, model.predict)


def howsure_loop(compiled: bool = False) -> Loop:
    """howsure's reduced JPEG decoding and its folded network; no scores and no calibration."""
    network = howsure_network(compiled=compiled)
    spec = network.input_spec
    return Loop(
        decode=lambda content: spec.pixels(read_image(content, spec)),
        forward=lambda pixels: network.outputs(np.stack(pixels)).logits.softmax(dim=1).topk(5).values.tolist(),
    )


LOOPS: dict[str, Callable[[], Loop]] = {
    "float32": lambda: plain_loop("float32", channels_last=False),
    "channels-last": lambda: plain_loop("float32", channels_last=True),
    "bfloat16": lambda: plain_loop("bfloat16", channels_last=True),
    "bfloat16-compiled": lambda: plain_loop("bfloat16", channels_last=True, compiled=True),
    "howsure": howsure_loop,
    "howsure-compiled": lambda: howsure_loop(compiled=True),
}

Schedule = Callable[[Loop, bytes, int, float], list[float]]  # → seconds of every batch that ended in time


def in_sequence(loop: Loop, content: bytes, batch: int, seconds: float) -> list[float]:
    """Every core works on one step at a time."""
    taken = []
    deadline = time.perf_counter() + seconds
    while (started := time.perf_counter()) < deadline:
        loop.forward([loop.decode(content) for _ in range(batch)])
        taken.append(time.perf_counter() - started)
    return taken


def overlapped(loop: Loop, content: bytes, batch: int, seconds: float) -> list[float]:
    """Threads decode the next batch while this one runs."""
    taken = []
    with ThreadPoolExecutor(CORES) as decoders:

        def ask() -> list[Future[Any]]:
            return [decoders.submit(loop.decode, content) for _ in range(batch)]

        coming = ask()
        deadline = time.perf_counter() + seconds
        while (started := time.perf_counter()) < deadline:
            decoded = [future.result() for future in coming]
            coming = ask()
            loop.forward(decoded)
            taken.append(time.perf_counter() - started)
    return taken


def in_lanes(loop: Loop, content: bytes, batch: int, seconds: float) -> list[float]:
    """A single-threaded loop a core, which share the batch; seconds as if it had been one batch."""
    taken: list[list[float]] = []

    def lane() -> None:
        torch.set_num_threads(1)
        taken.append(in_sequence(loop, content, max(1, batch // CORES), seconds))

    threads = [threading.Thread(target=lane) for _ in range(CORES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    torch.set_num_threads(CORES)
    return [max(together) for together in zip(*taken, strict=False)]


SCHEDULES: dict[str, Schedule] = {"sequence": in_sequence, "overlap": overlapped, "lanes": in_lanes}


def measure(loop: Loop, batch: int, seconds: float, warmup: float) -> dict[str, Any]:
    """The fastest schedule's figures, in the form of the load generator's."""
    content = photograph()
    in_sequence(loop, content, batch, warmup)
    names: Sequence[str] = ("sequence",) if batch == 1 else tuple(SCHEDULES)
    trials = {name: _rate(SCHEDULES[name](loop, content, batch, TRIAL_SECONDS), batch) for name in names}
    best = max(trials, key=lambda name: trials[name])
    taken = SCHEDULES[best](loop, content, batch, seconds)
    result = Result(clients=batch, seconds=seconds, requests_per_second=_rate(taken, batch))
    result.p50_ms, result.p99_ms = percentile_ms(taken, 0.50), percentile_ms(taken, 0.99)
    result.statuses = {"200": len(taken) * batch}
    return {**asdict(result), "schedule": best, "trials": trials, "threads": torch.get_num_threads()}


def _rate(taken: Sequence[float], batch: int) -> float:
    return round(len(taken) * batch / sum(taken), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=LOOPS)
    parser.add_argument("--batch", type=int, nargs="+", default=[16])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--warmup", type=float, default=1.0)
    given = parser.parse_args()
    torch.set_num_threads(CORES)
    loop = LOOPS[given.network]()
    for batch in given.batch:
        print(json.dumps(measure(loop, batch, given.seconds, given.warmup)), flush=True)


if __name__ == "__main__":
    main()
