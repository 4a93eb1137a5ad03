"""`howsure models …`: what a server serves, and how well calibrated it is."""

from typing import Annotated

import typer

from app.commands.terminal import AsJson, Key, Url, connected, fail, print_json, stdout

commands = typer.Typer(help="What a server serves, and how well calibrated it is.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a model.")]


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
        ends = {"first_id": cards[0].id if cards else None, "last_id": cards[-1].id if cards else None}
        print_json({"object": "list", "data": [card.raw for card in cards], "has_more": False} | ends)
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
    version: Annotated[int, typer.Argument(min=1, metavar="VERSION", help="Number of a version.")],
    url: Url = None,
    api_key: Key = None,
) -> None:
    """The whole evaluation report of a version, as JSON."""
    with connected(url, api_key, True) as client:
        print_json(client.report(name, version))
