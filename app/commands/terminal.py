"""What the commands share: their common options, how they print, and how they end when the server says no."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from app.client import Client
    from app.client.replies import HowsureApiError

ERRORS_SHOWN = 10

Url = Annotated[str | None, typer.Option(help="Address of the server; else HOWSURE_URL, else port 8000 here.")]
Key = Annotated[str | None, typer.Option(help="API key; else HOWSURE_API_KEY.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the API's JSON.")]


def fail(message: str, status: int = 1) -> NoReturn:
    """End with one line on stderr."""
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(status)


def say(message: str) -> None:
    """A line for people, on stderr: stdout is for results."""
    typer.echo(message, err=True)


def print_json(document: Mapping[str, Any]) -> None:
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def print_list(entries: Sequence[Mapping[str, Any]]) -> None:
    """As the API's list, which has come to its end."""
    ends = {"first_id": entries[0]["id"] if entries else None, "last_id": entries[-1]["id"] if entries else None}
    print_json({"object": "list", "data": list(entries), "has_more": False} | ends)


def stdout() -> "Console":
    from rich.console import Console

    return Console(highlight=False)


@contextmanager
def api_errors(as_json: bool = False) -> Iterator[None]:
    """An error of the API ends the command: its JSON on stdout where JSON was asked for, one line on stderr.

    So does a file that cannot be read.
    """
    from app.client.replies import HowsureApiError

    try:
        yield
    except HowsureApiError as error:
        if as_json and error.raw is not None:
            print_json(error.raw)
        for line in _single_errors(error):
            say(line)
        fail(f"{error.detail} ({error.code})")
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _single_errors(error: "HowsureApiError") -> list[str]:
    """What is wrong where, for people; nothing where that only repeats the error."""
    found = [(each.get("pointer") or each.get("row"), each.get("detail")) for each in error.errors]
    lines = [f"{where}: {detail}" for where, detail in found if where and detail != error.detail]
    return lines[:ERRORS_SHOWN] + ["…"] * (len(lines) > ERRORS_SHOWN)


@contextmanager
def connected(url: str | None, api_key: str | None, as_json: bool) -> Iterator["Client"]:
    """A client of a server that answers, within `api_errors`."""
    from app.client import Client

    with api_errors(as_json), Client(url, api_key) as client:
        client.ready()
        yield client
