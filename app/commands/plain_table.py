"""Tables without lines, for text of strangers: shown as it is, never as markup or control codes."""

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text


def plain_table(*columns: str, title: str | None = None) -> Table:
    table = Table(*columns, box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    table.title = None if title is None else Text(plain(title), style="bold")
    table.title_justify = "left"
    return table


def text(value: object) -> Text:
    """A dash for None."""
    return Text("-" if value is None else plain(str(value)))


def plain(text: str) -> str:
    """Control characters, which could steer the terminal, replaced."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
