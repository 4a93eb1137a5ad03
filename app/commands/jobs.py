"""`howsure jobs …`: hand in work on models, follow it, cancel it."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from app.commands.terminal import AsJson, Key, Url, connected, print_json, print_list, say, stdout

if TYPE_CHECKING:
    from app.client import Client

commands = typer.Typer(help="Work on models: hand it in, follow it, cancel it.", no_args_is_help=True)

INTERRUPTED = 130
LOST_CONTACT_SECONDS = 600.0  # the job goes on while its server is away, for a restart too
Id = Annotated[str, typer.Argument(metavar="ID", help="Id of a job.")]


@commands.command("submit")
def submit(
    kind: Annotated[
        str, typer.Argument(metavar="TYPE", help="train, calibrate, evaluate, epistemic_reference or loss_rank.")
    ],
    dataset: Annotated[str, typer.Option(metavar="ID|PATH", help="A dataset; a file or folder is uploaded first.")],
    model: Annotated[
        str | None, typer.Option(help="Which model; needless where there is one, but for train, where it may be new.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="Calibrator, short for --param method=…")] = None,
    param: Annotated[
        list[str], typer.Option(metavar="NAME=VALUE", help="As in gate.max_ece_increase=0.01; repeat it for several.")
    ] = [],  # noqa: B006
    priority: Annotated[int | None, typer.Option(help="Of a model's waiting jobs the lowest runs first.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it until it is over.")] = False,
    url: Url = None,
    api_key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Queue a job. With --watch the exit status is 0 when it has succeeded, 1 when failed, 3 when cancelled."""
    from app.commands.job_options import dataset_id, only_model, parse_params, require_model

    require_model(kind, model)
    params = parse_params([*([] if method is None else [f"method={method}"]), *param])
    with connected(url, api_key, as_json) as client:
        name = model or only_model(client)
        job = client.submit(kind, name, dataset_id(client, dataset), params, priority)
        if watch:
            say(f"{job.id} is {job.state}")
            _follow(client, job.id, as_json)
    if as_json:
        print_json(job.raw)
    else:
        typer.echo(f"{job.id} is {job.state}; `howsure jobs watch {job.id}` follows it")


@commands.command("list")
def list_jobs(
    model: Annotated[str | None, typer.Option(help="Only of this model.")] = None,
    state: Annotated[
        str | None, typer.Option(help="Only queued, running, cancelling, cancelled, succeeded or failed ones.")
    ] = None,
    url: Url = None,
    api_key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Jobs, newest first."""
    with connected(url, api_key, as_json) as client:
        found = client.jobs(model, state)
    if as_json:
        print_list([job.raw for job in found])
        return
    from app.commands.job_tables import show_jobs

    show_jobs(stdout(), found)


@commands.command("show")
def show(job: Id, url: Url = None, api_key: Key = None, as_json: AsJson = False) -> None:
    """One job: how far it is, what it was asked and what it has found."""
    with connected(url, api_key, as_json) as client:
        found = client.job(job)
    if as_json:
        print_json(found.raw)
        return
    from app.commands.job_tables import show_job

    show_job(stdout(), found)


@commands.command("watch")
def watch(job: Id, url: Url = None, api_key: Key = None, as_json: AsJson = False) -> None:
    """Follow a job until it is over; exit status 0 when it has succeeded, 1 when failed, 3 when cancelled.

    Ctrl-C ends the watching, not the job. With --json: one event a line.
    """
    with connected(url, api_key, as_json) as client:
        _follow(client, job, as_json)


@commands.command("cancel")
def cancel(job: Id, url: Url = None, api_key: Key = None, as_json: AsJson = False) -> None:
    """Cancel a job. One that runs ends within seconds."""
    with connected(url, api_key, as_json) as client:
        found = client.cancel(job)
    if as_json:
        print_json(found.raw)
    else:
        typer.echo(f"{found.id} is {found.state}")


@commands.command("log")
def log(job: Id, url: Url = None, api_key: Key = None, as_json: AsJson = False) -> None:
    """What a job has to tell."""
    with connected(url, api_key, as_json) as client:
        text = client.log(job)
    if as_json:
        print_json({"id": job, "lines": text.splitlines()})
    else:
        typer.echo(text, nl=False)


def _follow(client: "Client", job: str, as_json: bool) -> NoReturn:
    from app.commands.job_watch import EXIT_STATUS, last_line

    client.retry_seconds = LOST_CONTACT_SECONDS
    try:
        if as_json:
            for event in client.watch(job):
                typer.echo(json.dumps(asdict(event), ensure_ascii=False))
        else:
            _show_events(client, job)
    except KeyboardInterrupt:
        say(f"no longer watching; the job goes on. To end it: howsure jobs cancel {job}")
        raise typer.Exit(INTERRUPTED) from None
    over = client.job(job)
    if not as_json:
        typer.echo(last_line(over, client.url))
    raise typer.Exit(EXIT_STATUS[over.state])


def _show_events(client: "Client", job: str) -> None:
    from rich.console import Console

    from app.commands.job_watch import shown_on

    with shown_on(Console(stderr=True, highlight=False)) as shown:
        for event in client.watch(job):
            shown.show(event)
