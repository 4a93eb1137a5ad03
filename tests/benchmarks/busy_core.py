"""How soon a server is ready beside a program that has a core: `python -m tests.benchmarks.busy_core [--rounds 3]`.

With the time that howsure lets torch's threads spin (models/__init__.py), and with libgomp's own, in turns; each start
is from a store of its own, with the shipped networks for images. On a machine of two cores.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import torch

from models.checkpoints.shipped import IMAGE_MODELS
from tests.benchmarks.contenders import HOWSURE, Server
from tests.benchmarks.epistemic.tables import Report, Table
from tests.benchmarks.processes import running

RESULTS = Path(__file__).parent / "results" / "busy_core"
OURS, GOMP = "as howsure starts", "libgomp's own time to spin"
SPIN = {OURS: {}, GOMP: {"GOMP_SPINCOUNT": "300000"}}  # what libgomp takes where nobody says


def burn() -> None:
    """Products on one thread, for ever."""
    torch.set_num_threads(1)
    factor = torch.rand(512, 512)
    while True:
        factor @ factor


@contextmanager
def busy_core() -> Iterator[None]:
    process = get_context("spawn").Process(target=burn, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def ready_seconds(environment: dict[str, str]) -> float:
    shipped = {"HOWSURE_SHIPPED": ",".join(IMAGE_MODELS), "HOWSURE_WORKER": "false"}
    server = Server((HOWSURE, "serve", "--port", "{port}"), "/readyz", (), shipped | environment)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        with running(server, Path(folder)):
            return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    found: dict[str, list[float]] = {name: [] for name in SPIN}
    with busy_core():
        for _ in range(given.rounds):
            for name, environment in SPIN.items():
                found[name].append(ready_seconds(environment))
                print(f"{name}: ready after {found[name][-1]:.1f} s")
    rows = {name: [f"{median(each):.1f}", f"{min(each):.1f} to {max(each):.1f}"] for name, each in found.items()}
    table = Table("Seconds until ready", "threads that wait", ["median", "of all"], rows)
    command = f"python -m tests.benchmarks.busy_core --rounds {given.rounds}"
    about = {"rounds": f"{given.rounds}, in turns; a process with one busy thread beside"}
    report = Report("busy_core", "A server started beside a busy core", command, about, [table])
    report.write(given.out)
    print(report.markdown())


if __name__ == "__main__":
    main()
