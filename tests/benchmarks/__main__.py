"""Compares howsure with loops without HTTP, plain FastAPI and LitServe: same weights, same picture, same machine.

    python -m tests.benchmarks                           # everything, about a quarter of an hour
    python -m tests.benchmarks --rounds 1 --seconds 2 --only howsure litserve

Rounds are interleaved (A B C D A B C D …), because a machine drifts; ratios are taken within a round. One contender
runs at a time. Let the machine do nothing else.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.benchmarks.contenders import MODULE, RawLoop, Server, Variant, chosen, names
from tests.benchmarks.picture import describe, write_photograph
from tests.benchmarks.processes import Running, StartError, busy_seconds, children_seconds, running
from tests.benchmarks.report import Cell, Report


class Bench:
    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.clients: list[int] = options.clients
        self.seconds: float = options.seconds
        self.warmup: float = options.warmup
        self.folder = folder
        self.picture = write_photograph(folder)

    def raw(self, round_: int, loop: RawLoop) -> Iterator[Cell]:
        command = [*MODULE, "tests.benchmarks.raw_loops", loop.network, "--batch", *map(str, self.clients)]
        output, others = self._run([*command, *self._durations()])
        for figures in map(json.loads, output.splitlines()):
            yield Cell(round_, loop.name, figures["clients"], {**figures, "other_cores": round(others, 2)})

    def served(self, round_: int, server: Server, variants: list[Variant]) -> Iterator[Cell]:
        with running(server, self.folder) as process:
            for variant in variants:
                for clients in self.clients:
                    yield Cell(round_, variant.name, clients, self._load(process, variant, clients))

    def _load(self, process: Running, variant: Variant, clients: int) -> dict[str, Any]:
        command = [*MODULE, "tests.benchmarks.load", "--json", "--url", process.url + variant.path]
        command += ["--file", str(self.picture), "--clients", str(clients), *self._durations()]
        command += ["--multipart"] if variant.multipart else []
        for word in variant.contains:
            command += ["--contains", word]
        before, started = process.cpu_seconds(), time.perf_counter()
        output, others = self._run(command)
        cores = (process.cpu_seconds() - before) / (time.perf_counter() - started)
        return {**json.loads(output), "cores": round(cores, 2), "other_cores": round(max(0.0, others - cores), 2)}

    def _durations(self) -> list[str]:
        return ["--seconds", str(self.seconds), "--warmup", str(self.warmup)]

    @staticmethod
    def _run(command: list[str]) -> tuple[str, float]:
        """Its output, and the cores that everything but this command kept busy meanwhile."""
        before, own, started = busy_seconds(), children_seconds(), time.perf_counter()
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        others = busy_seconds() - before - (children_seconds() - own)
        return output, max(0.0, others / (time.perf_counter() - started))


def main() -> None:
    options = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped on the way out
    loops, servers = chosen(options.only, options.compiled)
    about = {loop.name: f"no HTTP: {loop.about}" for loop in loops}
    about |= {variant.name: variant.about for _, variants in servers for variant in variants}
    kept = {name: getattr(options, name) for name in ("seconds", "warmup", "rounds")}
    cells: list[Cell] = []
    missing: list[str] = []
    with tempfile.TemporaryDirectory(prefix="howsure-bench-") as folder:
        bench = Bench(options, Path(folder))
        try:
            for cell in _rounds(bench, options.rounds, loops, servers, missing):
                cells.append(cell)
                _progress(cell)
        except KeyboardInterrupt:
            print("stopped early; what follows is what there is", file=sys.stderr)
    report = Report(cells, about, describe(), kept)
    report.print()
    if not options.no_write:
        report.write()
    for reason in missing:
        print(reason, file=sys.stderr)
    sys.exit(1 if missing or any(cell.fault for cell in cells) else 0)


def _rounds(
    bench: Bench,
    rounds: int,
    loops: list[RawLoop],
    servers: list[tuple[Server, list[Variant]]],
    missing: list[str],
) -> Iterator[Cell]:
    """Every measurement in order; a server that does not start goes into `missing`, and the others go on."""
    for round_ in range(1, rounds + 1):
        for loop in loops:
            yield from bench.raw(round_, loop)
        for server, variants in servers:
            try:
                yield from bench.served(round_, server, variants)
            except StartError as error:
                missing.append(f"round {round_}: {error}")


def _progress(cell: Cell) -> None:
    figures = cell.figures
    text = f"round {cell.round}  {cell.name:22} {cell.clients:3} clients  {cell.rate:7.1f}/s"
    text += f"  p50 {figures['p50_ms']} ms  p99 {figures['p99_ms']} ms  {figures.get('schedule', '')}"
    Console(stderr=True, highlight=False).print(
        text + (f"  [red]{cell.fault}[/red]" if cell.fault else ""), soft_wrap=True
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a measurement")
    parser.add_argument("--warmup", type=float, default=1.5, help="seconds of the same load before it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--only", nargs="+", default=[], choices=names(), metavar="NAME", help=", ".join(names()))
    parser.add_argument("--compiled", action="store_true", help="also the raw loops under torch.compile (minutes)")
    parser.add_argument("--no-write", action="store_true", help="leave tests/benchmarks/results as it is")
    return parser.parse_args()


if __name__ == "__main__":
    main()
