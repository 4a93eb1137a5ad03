"""Results as Markdown tables beside the same figures as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from models.core.device import machine

RESULTS = Path(__file__).parent.parent / "results" / "epistemic"


@dataclass(frozen=True, slots=True)
class Table:
    """`columns` are the headings of figures; `rows` have a name and a figure, a text or None a column."""

    title: str
    first: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[float | str | None]]

    def __post_init__(self) -> None:
        for name, row in self.rows.items():
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title}: row {name} has {len(row)} cells for {len(self.columns)} columns")

    def markdown(self) -> str:
        lines = [
            f"## {self.title}",
            "",
            _line([self.first, *self.columns]),
            _line(["---", *["---:"] * len(self.columns)]),
        ]
        lines += [_line([name, *map(_cell, row)]) for name, row in self.rows.items()]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Report:
    """`about` names data, rows and seed; `words` are what the figures say, a paragraph each."""

    name: str
    title: str
    command: str
    about: Mapping[str, str]
    tables: Sequence[Table]
    words: Sequence[str] = ()

    def markdown(self) -> str:
        about = [f"- {name}: {text}" for name, text in self._about().items()]
        parts = [f"# {self.title}", "", f"Written by `{self.command}`.", "", *about, ""]
        return "\n".join([*parts, *(table.markdown() for table in self.tables), *_paragraphs(self.words)])

    def write(self, folder: Path = RESULTS) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        tables = {table.title: asdict(table) for table in self.tables}
        found = {"command": self.command, **self._about(), "tables": tables, "words": list(self.words)}
        (folder / f"{self.name}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        (folder / f"{self.name}.md").write_text(self.markdown())

    def _about(self) -> dict[str, str]:
        return {**self.about, "machine": f"{machine()}, {torch.get_num_threads()} thread(s)"}


def _line(cells: Sequence[str]) -> str:
    return "|" + "|".join(cells) + "|"


def _cell(value: float | str | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.4f}"


def _paragraphs(words: Sequence[str]) -> list[str]:
    return [f"{text}\n" for text in words]
