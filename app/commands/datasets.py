"""`howsure datasets …`: labelled data on a server, for jobs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.terminal import AsJson, Key, Url, connected, fail, print_json, print_list, stdout

if TYPE_CHECKING:
    from app.client.job_replies import Dataset

commands = typer.Typer(help="Labelled data on a server, for jobs.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of a dataset.")]


@commands.command("add")
def add(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A .zip, .tar, .tar.gz, .npz, .csv or .jsonl, or a folder.")
    ],
    name: Annotated[str | None, typer.Option(help="What to call it; else its file name.")] = None,
    on_server: Annotated[
        bool, typer.Option("--server", help="The data lies on the server, and PATH below its HOWSURE_DATA_ROOT.")
    ] = False,
    url: Url = None,
    api_key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Add labelled data. Every row is looked at; the same data again is the same dataset."""
    if not on_server and not Path(path).exists():
        fail(f"there is no file or folder {path} here; for data on the server add --server", status=2)
    with connected(url, api_key, as_json) as client:
        _show(client.add_server_data(path, name) if on_server else client.add_dataset(path, name), as_json)


@commands.command("list")
def list_datasets(url: Url = None, api_key: Key = None, as_json: AsJson = False) -> None:
    """Every dataset, newest first."""
    with connected(url, api_key, as_json) as client:
        found = client.datasets()
    if as_json:
        print_list([dataset.raw for dataset in found])
        return
    from app.commands.job_tables import show_datasets

    show_datasets(stdout(), found)


@commands.command("show")
def show(dataset: Id, url: Url = None, api_key: Key = None, as_json: AsJson = False) -> None:
    """One dataset: rows by label, and what was left out."""
    with connected(url, api_key, as_json) as client:
        _show(client.dataset(dataset), as_json)


@commands.command("remove")
def remove(dataset: Id, url: Url = None, api_key: Key = None, as_json: AsJson = False) -> None:
    """Delete a dataset that no unfinished job uses. Data added with --server stays where it lies."""
    with connected(url, api_key, as_json) as client:
        client.delete_dataset(dataset)
    if as_json:
        print_json({"id": dataset, "object": "dataset", "deleted": True})
    else:
        typer.echo(f"{dataset} is deleted")


def _show(dataset: "Dataset", as_json: bool) -> None:
    if as_json:
        print_json(dataset.raw)
        return
    from app.commands.job_tables import show_dataset

    show_dataset(stdout(), dataset)
