"""Live swaps under load: what they cost the callers, and how long they take.

    python -m tests.benchmarks.swaps [--swaps 100 --clients 16]

Windows without and with swaps take turns in one run, because a machine drifts. Let the machine do nothing else.
"""

import argparse
import json
import math
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx

from models.checkpoints.shipped import install_shipped
from models.core.store import CheckpointStore
from tests.benchmarks.load import Result, Target, multipart
from tests.benchmarks.picture import photograph
from tests.benchmarks.witness import Seen, Witness, mixed
from tests.fixtures.metrics import resident_mib
from tests.fixtures.recalibrated import networks_of, recalibrated, with_other_weights
from tests.fixtures.server import Server, launch

MODEL = "efficientnet-lite0"
URL = "/v1/images/score"
OTHER_NETWORK = 3
SWAPS_A_WINDOW = 10
NETWORK_SWAPS = 2
NETWORK_SECONDS = 40.0  # the load goes on so long for them


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time in `time.perf_counter()`."""

    kind: str  # quiet | calibration | network
    begins: float
    ends: float


class Swapper:
    """Activates versions over HTTP while the load runs; `windows` are what it did when."""

    def __init__(self, server: Server, seconds: float) -> None:
        self.server = server
        self.seconds = seconds
        self.windows: list[Window] = []

    def run(self, swaps: int) -> None:
        versions = cycle((2, 1))
        for _ in range(0, swaps, SWAPS_A_WINDOW):
            self._window("quiet", lambda: time.sleep(self.seconds))
            self._window("calibration", lambda: self._swap([next(versions) for _ in range(SWAPS_A_WINDOW)]))
        self._window("network", lambda: self._swap([OTHER_NETWORK, 1] * (NETWORK_SWAPS // 2)))

    def activate(self, version: int) -> None:
        body = {"version": version, "reason": "benchmark"}
        answer = httpx.post(f"{self.server.url}/v1/models/{MODEL}/activate", json=body, timeout=60, trust_env=False)
        answer.raise_for_status()
        while httpx.get(f"{self.server.url}/readyz", trust_env=False).json()["models"][0]["version"] != version:
            time.sleep(0.05)

    def _swap(self, versions: Sequence[int]) -> None:
        for version in versions:
            due = time.perf_counter() + self.seconds / SWAPS_A_WINDOW
            self.activate(version)
            time.sleep(max(0.0, due - time.perf_counter()))

    def _window(self, kind: str, work: Callable[[], None]) -> None:
        begins = time.perf_counter()
        work()
        self.windows.append(Window(kind, begins, time.perf_counter()))


def make_store(folder: Path) -> Path:
    """Versions 1 and 2 differ in their temperature, version 3 in the weights of the network."""
    store = CheckpointStore(folder / "store")
    install_shipped(store)
    first = store.read(MODEL, 1)
    store.publish(MODEL, recalibrated(first, networks_of(store, first.manifest), 0.5))
    if store.publish(MODEL, with_other_weights(store, first)) != OTHER_NETWORK:
        raise SystemExit("the store numbers its versions in another way than this benchmark expects")
    return store.root


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    server = launch(folder / "server.log", HOWSURE_STORE=make_store(folder))
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()


def expected(swapper: Swapper, target: Target) -> dict[int, tuple[float, ...]]:
    """Version → the confidence that it gives for the photograph, asked without other load."""
    found = {}
    for version in (OTHER_NETWORK, 2, 1):
        swapper.activate(version)
        alone = Witness(target, clients=1)
        alone.run(seconds=0.5)
        found[version] = alone.seen[0].confidences
    return found


def p99(seen: Sequence[Seen], windows: Sequence[Window], kind: str) -> float:
    """Of the replies that came in windows of this kind, in milliseconds."""
    chosen = [window for window in windows if window.kind == kind]
    during = [reply.seconds for reply in seen if any(window.begins <= reply.at < window.ends for window in chosen)]
    return 1000 * percentile(during)


def swap_milliseconds(log: Path, reused: bool) -> list[float]:
    lines: list[dict[str, Any]] = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line["milliseconds"] for line in lines if line.get("event") == "model_swapped" and line["reused"] == reused]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swaps", type=int, default=100)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a window")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="howsure-swaps-") as folder, serving(Path(folder)) as server:
        _measure(server, given)


def _measure(server: Server, given: argparse.Namespace) -> None:
    target = Target.build(server.url + URL, *multipart(photograph(), "photograph.jpg"))
    swapper = Swapper(server, given.seconds)
    confidences = expected(swapper, target)
    Witness(target, given.clients).run(given.seconds)  # memory and kernels settle
    earlier = {reused: len(swap_milliseconds(server.log, reused)) for reused in (True, False)}
    before = resident_mib(server.process)
    witness = Witness(target, given.clients)
    swapping = threading.Thread(target=swapper.run, args=(given.swaps,))
    swapping.start()
    result = witness.run(2 * given.seconds * given.swaps / SWAPS_A_WINDOW + NETWORK_SECONDS)
    swapping.join()
    after = resident_mib(server.process)
    milliseconds = {reused: swap_milliseconds(server.log, reused)[earlier[reused] :] for reused in (True, False)}
    _print_outcome(result, len(mixed(witness.seen, confidences)), witness.seen)
    _print_latencies(witness.seen, swapper.windows)
    for kind, times in (("calibration-only", milliseconds[True]), ("whole-network", milliseconds[False])):
        print(f"{kind} swap: {len(times)}, median {statistics.median(times):.1f} ms, p99 {percentile(times):.1f} ms")
    print(f"resident memory: {before:.0f} MiB before, {after:.0f} MiB after")


def _print_outcome(result: Result, mixed_replies: int, seen: Sequence[Seen]) -> None:
    failed = sum(count for status, count in result.statuses.items() if status != "200") + sum(result.failures.values())
    versions = sorted({reply.version for reply in seen})
    print(
        f"{len(seen)} replies by {result.clients} clients, {result.requests_per_second:.1f}/s, of versions {versions}"
    )
    print(f"failed requests: {failed} {result.failures or ''}, mixed replies: {mixed_replies}")


def _print_latencies(seen: Sequence[Seen], windows: Sequence[Window]) -> None:
    quiet = p99(seen, windows, "quiet")
    print(f"p99 without swaps: {quiet:.0f} ms")
    for kind in ("calibration", "network"):
        during = p99(seen, windows, kind)
        print(f"p99 during {kind} swaps: {during:.0f} ms, ratio {during / quiet:.2f}")


def percentile(values: Sequence[float]) -> float:
    """The nearest-rank 99th percentile."""
    return sorted(values)[max(0, math.ceil(0.99 * len(values)) - 1)]


if __name__ == "__main__":
    main()
