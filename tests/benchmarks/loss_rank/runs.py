"""Finished runs as lines of JSON, so that a command that was interrupted goes on; and seeds as mean ± deviation."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any, TypeVar

Run = TypeVar("Run")


def finished(path: Path, kind: type[Run]) -> list[Run]:
    """Of a dataclass `kind`; none where the file is not there."""
    if not path.exists():
        return []
    return [kind(**json.loads(line)) for line in path.read_text().splitlines()]


def note(path: Path, run: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(asdict(run)) + "\n")
    print(run, flush=True)


def spread(values: Sequence[float | None]) -> str | None:
    """Mean ± standard deviation over the seeds; None where there is no value."""
    there = [value for value in values if value is not None]
    if not there:
        return None
    return f"{mean(there):.4f} ± {stdev(there) if len(there) > 1 else 0.0:.4f}"
