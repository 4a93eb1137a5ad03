"""Finished runs as lines of JSON on disk, from which an experiment that was killed goes on."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Run:
    """The figures of one cell with one seed, and how long they took."""

    key: str
    seed: int
    figures: dict[str, float]
    seconds: float


@dataclass(frozen=True, slots=True)
class Journal:
    path: Path

    def runs(self) -> list[Run]:
        """None where the file is not there. A last line without its end, of a killed writer, is cut off."""
        if not self.path.exists():
            return []
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(self.path, len(whole))
        return [Run(**json.loads(line)) for line in whole.splitlines()]

    def add(self, run: Run) -> None:
        """On disk when this returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(json.dumps(asdict(run)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
