"""The `howsure` command. torch, httpx and the service are imported only by commands that need them: help is quick."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands import datasets as datasets_command
from app.commands import jobs as jobs_command
from app.commands import models as models_command
from app.commands.score import score, show
from app.commands.settings import read_settings
from app.commands.terminal import api_errors, fail, say
from app.keys import ApiKey, Scope

if TYPE_CHECKING:
    from app.settings import Settings

app = typer.Typer(
    help="How sure is the model, and why not? Calibrated confidence and uncertainty scores over HTTP.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
keys = typer.Typer(help="API keys.", no_args_is_help=True)
app.add_typer(models_command.commands, name="models")
app.add_typer(datasets_command.commands, name="datasets")
app.add_typer(jobs_command.commands, name="jobs")
app.add_typer(keys, name="keys")


def _version(asked: bool) -> None:
    if asked:
        print_version()
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version.")
    ] = False,
) -> None:
    del version  # its callback has done it


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to bind.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to bind; 0 takes a free one.")] = None,
    store: Annotated[Path | None, typer.Option(help="Folder of the checkpoint store.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, bfloat16 or float32.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of a forward pass on a CPU; 0 is one a core.")] = None,
    log_level: Annotated[str | None, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = None,
    worker: Annotated[bool | None, typer.Option(help="Run a worker for jobs beside the server.")] = None,
) -> None:
    """Serve the API, and work off jobs.

    Every setting is a HOWSURE_* variable; these options go before the variables of the same names.
    """
    options = {
        "host": host,
        "port": port,
        "store": store,
        "device": device,
        "precision": precision,
        "threads": threads,
        "log_level": log_level and log_level.upper(),
        "worker": worker,
    }
    settings = read_settings({name: value for name, value in options.items() if value is not None})
    from app.server import bind, build_server
    from app.telemetry import configure_logging
    from models.core.errors import ModelSideError

    try:
        server = build_server(settings)
        listener = bind(settings)
    except OSError as error:
        fail(f"cannot listen on {_address(settings.host, settings.port)}: {error.strerror or error}")
    except ModelSideError as error:  # a device that this machine does not have
        fail(str(error), status=2)
    configure_logging(settings.log_level)
    url = f"http://{_address(settings.host, listener.getsockname()[1])}"
    say(f"howsure {installed_version('howsure')} serves {url}, see {url}/docs; it is ready once its models are loaded")
    with _worker_beside(settings):
        server.run(sockets=[listener])
    if server.failure:
        fail(server.failure)


@app.command("worker")
def work(
    ends_with_stdin: Annotated[bool, typer.Option(help="Stop when standard input ends.", hidden=True)] = False,
) -> None:
    """Work off jobs. Any number of workers on any number of machines share one jobs database and one store."""
    from app.jobs.worker import Worker
    from app.telemetry import configure_logging

    # Who may bind where, and with which key, concerns the server.
    settings = read_settings({"host": "127.0.0.1", "api_keys": ()})
    configure_logging(settings.log_level)
    status = Worker(settings).run(ends_with_stdin=ends_with_stdin)
    # Threads of jobs that were handed back still wait, and would keep the process from ending.
    logging.shutdown()
    os._exit(status)


app.command()(score)


@app.command()
def demo() -> None:
    """Start a server, score two photographs with it, and stop it."""
    from app.commands.demo import DemoError, run

    with api_errors():
        try:
            run(typer.echo, show)
        except DemoError as error:
            fail(str(error))


@keys.command("new")
def new_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is.")],
    scope: Annotated[list[Scope], typer.Option(help="What it may do; repeat it for several.")] = [  # noqa: B006
        Scope.READ,
        Scope.SCORE,
    ],
) -> None:
    """Make an API key. The secret is shown once and stored nowhere; the server needs only its hash."""
    key, secret = ApiKey.create(name, scope)
    try:
        ApiKey.parse(str(key))
    except ValueError:
        fail(f"a key's name has letters, digits, dots, dashes and underscores, not {name!r}", status=2)
    typer.echo(f"Secret, for the caller (not shown again):  {secret}")
    typer.echo(f"Entry, for the server's HOWSURE_API_KEYS:  {key}")


@app.command("version")
def print_version() -> None:
    """Print the version."""
    typer.echo(f"howsure {installed_version('howsure')}")


def main() -> None:
    app()


@contextmanager
def _worker_beside(settings: "Settings") -> Iterator[None]:
    if not settings.worker:
        yield
        return
    from app.jobs.supervisor import Supervisor

    supervisor = Supervisor(settings)
    supervisor.start()
    try:
        yield
    finally:
        supervisor.close(settings.drain_seconds)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


if __name__ == "__main__":
    main()
