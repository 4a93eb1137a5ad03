"""What a run found: medians over rounds, ratios round by round, as a terminal table, JSON and Markdown."""

import json
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from tests.benchmarks.contenders import raw_names

RESULTS = Path(__file__).parent / "results"
BEST_RAW = "best raw loop"
REFERENCES = ("litserve", "litserve-workers", "fastapi", "howsure-no-gradients", BEST_RAW)
PACKAGES = ("torch", "torchvision", "pillow", "fastapi", "uvicorn", "litserve", "timm")
DISTURBED_CORES = 0.2
FIELDS = ("requests_per_second", "p50_ms", "p99_ms", "cores", "other_cores")
INTRODUCTION = (
    "Written by `make bench`. Medians over rounds; ratios of requests/s are taken round by round: median (lowest to",
    "highest). `cores` is what the server used of the processor, `others` what every other program but the load",
    "generator used meanwhile: figures count where that is close to 0.",
)
HEADINGS = ["contender", "clients", "requests/s", "p50 ms", "p99 ms", "cores", "others"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One measurement: the load generator's figures for one contender and number of clients in one round."""

    round: int
    name: str
    clients: int
    figures: dict[str, Any]

    @property
    def rate(self) -> float:
        return float(self.figures["requests_per_second"])

    @property
    def fault(self) -> str | None:
        """Why the figures do not count."""
        other = {status: count for status, count in self.figures["statuses"].items() if status != "200"}
        if other or self.figures["failures"] or self.figures["wrong"]:
            return f"{other} {self.figures['failures']}, {self.figures['wrong']} replies without the expected words"
        return None if self.rate else "no reply"


@dataclass(frozen=True, slots=True)
class Ratio:
    """Requests/s over a reference's, taken round by round."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:.2f} ({self.low:.2f} to {self.high:.2f})"


class Report:
    def __init__(self, cells: Sequence[Cell], about: dict[str, str], picture: str, options: dict[str, Any]) -> None:
        self.cells = cells
        self.about = about
        self.machine = {"picture": picture, **options, **machine()}

    def rows(self) -> Iterable[tuple[str, int, list[str]]]:
        """(name, clients, what stands in the table)."""
        keys = dict.fromkeys((cell.clients, cell.name) for cell in self.cells)
        for clients, name in sorted(keys, key=lambda key: (key[0], list(self.about).index(key[1]))):
            cells = self._of(name, clients)
            figures = [_middle(cells, field) for field in FIELDS]
            ratios = [str(self.ratio(name, reference, clients) or "") for reference in REFERENCES]
            yield name, clients, [name, str(clients), *figures, *ratios]

    def ratio(self, name: str, reference: str, clients: int) -> Ratio | None:
        below = self._best_raw(clients) if reference == BEST_RAW else self._rates(reference, clients)
        above = self._rates(name, clients)
        found = [above[round_] / below[round_] for round_ in above if below.get(round_)]
        return Ratio(median(found), min(found), max(found)) if found and name != reference else None

    def print(self) -> None:
        console = Console()
        console = console if console.is_terminal else Console(width=170)
        table = Table(*HEADINGS, *(f"÷ {reference}" for reference in REFERENCES), title="requests/s, median of rounds")
        for column in table.columns[1:]:
            column.justify = "right"
        previous = None
        for _, clients, texts in self.rows():
            if previous not in (None, clients):
                table.add_section()
            previous = clients
            table.add_row(*texts)
        console.print(table)
        for cell in self.cells:
            if cell.fault:
                console.print(f"[red]round {cell.round}, {cell.name}, {cell.clients} clients: {cell.fault}[/red]")
        disturbed = sum(cell.figures["other_cores"] > DISTURBED_CORES for cell in self.cells)
        if disturbed:
            console.print(
                f"[yellow]{disturbed} of {len(self.cells)} measurements shared the machine: repeat them[/yellow]"
            )

    def write(self, folder: Path = RESULTS) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "latest.json").write_text(json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n")
        (folder / "latest.md").write_text(self.markdown())

    def to_dict(self) -> dict[str, Any]:
        return {
            "machine": self.machine,
            "contenders": self.about,
            "cells": [
                {"round": cell.round, "name": cell.name, **cell.figures, "clients": cell.clients} for cell in self.cells
            ],
        }

    def markdown(self) -> str:
        heads = [*HEADINGS, *(f"÷ {reference}" for reference in REFERENCES)]
        lines = ["# Serving benchmark", "", *INTRODUCTION, ""]
        lines += ["|" + "|".join(heads) + "|", "|" + "|".join(["---"] + ["---:"] * (len(heads) - 1)) + "|"]
        lines += ["|" + "|".join(texts) + "|" for _, _, texts in self.rows()]
        lines += ["", "## Contenders", ""] + [f"- `{name}`: {text}" for name, text in self.about.items()]
        lines += ["", "## Machine and options", ""] + [f"- {name}: {value}" for name, value in self.machine.items()]
        return "\n".join(lines) + "\n"

    def _of(self, name: str, clients: int) -> list[Cell]:
        return [cell for cell in self.cells if (cell.name, cell.clients) == (name, clients)]

    def _rates(self, name: str, clients: int) -> dict[int, float]:
        return {cell.round: cell.rate for cell in self._of(name, clients)}

    def _best_raw(self, clients: int) -> dict[int, float]:
        best: dict[int, float] = {}
        for cell in self.cells:
            if cell.name in raw_names() and cell.clients == clients:
                best[cell.round] = max(best.get(cell.round, 0.0), cell.rate)
        return best


def machine() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "bfloat16 in hardware": bool(torch.cpu.get_capabilities().get("avx512_bf16")),
        "torch threads by default": torch.get_num_threads(),
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        "load average at the end": ", ".join(f"{value:.1f}" for value in os.getloadavg()),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _middle(cells: Sequence[Cell], field: str) -> str:
    values = [value for cell in cells if (value := cell.figures.get(field)) is not None]
    return f"{median(values):.1f}" if values else ""


def _processor() -> str:
    read: Callable[[], str] = Path("/proc/cpuinfo").read_text
    lines = read().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
