"""`howsure models …`: what a server serves, how well calibrated it is, and which version of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.terminal import AsJson, Key, Url, connected, fail, print_json, print_list, say, stdout

if TYPE_CHECKING:
    from app.client.model_replies import Activation, Move

commands = typer.Typer(help="What a server serves, and how well calibrated it is.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a model.")]
Number = Annotated[int, typer.Argument(min=1, metavar="VERSION", help="Number of a version.")]
Reason = Annotated[str, typer.Option(help="Why, for the history.")]


@commands.callback(invoke_without_command=True)
def models(context: typer.Context, url: Url = None, api_key: Key = None, as_json: AsJson = False) -> None:
    if context.invoked_subcommand is None:
        list_models(url, api_key, as_json)
    elif url or api_key or as_json:
        fail(f"write the options behind `{context.invoked_subcommand}`", status=2)


@commands.command("list")
def list_models(url: Url = None, api_key: Key = None, as_json: AsJson = False) -> None:
    """Every model that has an active version."""
    with connected(url, api_key, as_json) as client:
        cards = client.models()
    if as_json:
        print_list([card.raw for card in cards])
        return
    from app.commands.console import show_models

    show_models(stdout(), cards)


@commands.command("show")
def show(name: Name, url: Url = None, api_key: Key = None, as_json: AsJson = False) -> None:
    """One model: calibration before and after, and warnings."""
    with connected(url, api_key, as_json) as client:
        card = client.model(name)
    if as_json:
        print_json(card.raw)
        return
    from app.commands.console import show_model

    show_model(stdout(), card)


@commands.command("versions")
def versions(name: Name, url: Url = None, api_key: Key = None, as_json: AsJson = False) -> None:
    """Every version of a model, and which served when."""
    with connected(url, api_key, as_json) as client:
        found = client.versions(name)
    if as_json:
        print_json(found.raw)
        return
    from app.commands.console import show_versions

    show_versions(stdout(), name, found)


@commands.command("report")
def report(
    name: Name,
    version: Number,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """The whole evaluation report of a version, as JSON."""
    with connected(url, api_key, True) as client:
        print_json(client.report(name, version))


@commands.command("add")
def add(
    name: Name,
    path: Annotated[
        str | None, typer.Argument(metavar="PATH", help="Folder or .gguf file below the server's data root.")
    ] = None,
    hub: Annotated[
        str | None,
        typer.Option(metavar="ORG/NAME", help="In place of PATH, where the server has HOWSURE_HUB."),
    ] = None,
    kind: Annotated[str, typer.Option(help="timm or transformers, as saved by it, or causal_lm.")] = "timm",
    classes: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Text file of class names, one a line.")
    ] = None,
    url: Url = None,
    api_key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Take up an own network. It serves uncalibrated until a job `calibrate` has run on it."""
    if (path is None) == (hub is None):
        fail("give PATH or --hub ORG/NAME: the network comes from one of them", status=2)
    names = None if classes is None else classes.read_text(encoding="utf-8").splitlines()
    with connected(url, api_key, as_json) as client:
        done = client.register(name, kind, path, names, hub=hub)
    if as_json:
        print_json(done.raw)
    else:
        typer.echo(f"{name}: version {done.version} is there, version {done.active} is active")


@commands.command("activate")
def activate(
    name: Name, version: Number, reason: Reason = "", url: Url = None, api_key: Key = None, as_json: AsJson = False
) -> None:
    """Make a version the one that serves. Exit status 1 when the server cannot serve it."""
    with connected(url, api_key, as_json) as client:
        _tell(client.activate(name, version, reason), as_json)


@commands.command("rollback")
def rollback(
    name: Name, reason: Reason = "roll back", url: Url = None, api_key: Key = None, as_json: AsJson = False
) -> None:
    """Back to the version that was active before the one that is; a second time leads forward again."""
    with connected(url, api_key, as_json) as client:
        version = _before(client.versions(name).history)
        if version is None:
            fail(f"{name} has had one active version only: there is none to go back to")
        _tell(client.activate(name, version, reason), as_json)


def _before(history: Sequence["Move"]) -> int | None:
    """The last version in the history that is not the active one."""
    return next((move.version for move in reversed(history) if move.version != history[-1].version), None)


def _tell(done: "Activation", as_json: bool) -> None:
    if as_json:
        print_json(done.raw)
    else:
        before = "none" if done.previous is None else f"version {done.previous}"
        typer.echo(f"{done.model}: version {done.version} is active, before it was {before}")
    if done.reason:
        fail(f"this server serves version {done.serving or 'none'} on, for it cannot load the other: {done.reason}")
    if done.serving != done.version:
        say("this server is still loading it")
