"""The `howsure` command. torch, httpx and the service are imported only by commands that need them: help is quick."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from difflib import get_close_matches
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands import datasets as datasets_command
from app.commands import jobs as jobs_command
from app.commands import models as models_command
from app.commands.terminal import AsJson, Key, Url, api_errors, fail, print_json, say, stdout
from app.keys import ApiKey, Scope

if TYPE_CHECKING:
    from app.client import AsyncClient
    from app.client_replies import ScoreReply
    from app.settings import Settings

app = typer.Typer(
    help="How sure is the model, and why not? Calibrated confidence and uncertainty scores over HTTP.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
# What clients, tests and the compose file read.
OTHER_VARIABLES = frozenset({"HOWSURE_URL", "HOWSURE_API_KEY", "HOWSURE_TEST_DATA", "HOWSURE_BIND"})
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
    settings = _settings({name: value for name, value in options.items() if value is not None})
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
    settings = _settings({"host": "127.0.0.1", "api_keys": ()})
    configure_logging(settings.log_level)
    status = Worker(settings).run(ends_with_stdin=ends_with_stdin)
    # Threads of jobs that were handed back still wait, and would keep the process from ending.
    logging.shutdown()
    os._exit(status)


@app.command()
def score(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="FILE|FOLDER", exists=True, help="Images; a folder means all images below it."),
    ],
    url: Url = None,
    api_key: Key = None,
    model: Annotated[str | None, typer.Option(help="Which model; needless where there is one.")] = None,
    scores: Annotated[
        str | None, typer.Option(help="Uncertainty scores, comma-separated, as in entropy,epistemic:exact; else all.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="Number of classes in the JSON's `top`.")] = None,
    exact_top: Annotated[
        int | None, typer.Option(min=1, help="Exact scores for so many images of each 32, the most doubtful; else all.")
    ] = None,
    budget_ms: Annotated[
        int | None, typer.Option(min=0, help="Milliseconds for the scores of each 32 images; then in a cheaper form.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score images, by a server or, where none is at hand, in this process. Exit status 1 when any could not be."""
    from app.commands.score_files import image_files, score_files

    files = image_files(paths)
    if not files:
        fail(f"no image files below {', '.join(map(str, paths))}", status=2)

    async def run() -> "ScoreReply":
        async with _score_client(url, api_key) as client:
            names = None if scores is None else scores.split(",")
            return await score_files(
                client, files, model=model, scores=names, top_k=top_k, exact_top=exact_top, budget_ms=budget_ms
            )

    with api_errors(as_json):
        reply = asyncio.run(run())
    if as_json:
        print_json(reply.raw)
    else:
        _show(reply)
    if reply.failed:
        raise typer.Exit(1)


@app.command()
def demo() -> None:
    """Start a server, score two photographs with it, and stop it."""
    from app.commands.demo import DemoError, run

    with api_errors():
        try:
            run(typer.echo, _show)
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


@asynccontextmanager
async def _score_client(url: str | None, api_key: str | None) -> AsyncIterator["AsyncClient"]:
    from app.client import AsyncClient
    from app.client_replies import HowsureConnectionError

    async with AsyncClient(url, api_key) as client:
        try:
            await client.ready()
            absent = None
        except HowsureConnectionError as error:
            if url or os.environ.get("HOWSURE_URL"):
                raise
            absent = error
        if absent is None:
            yield client
            return
    say(f"{absent.detail}; scoring in this process instead.")
    from app.commands.in_process import in_process_client

    # Who may bind where, and with which key, concerns a socket, and here is none.
    settings = _settings({"host": "127.0.0.1", "api_keys": ()})
    async with in_process_client(settings) as client:
        yield client


def _settings(options: Mapping[str, Any]) -> "Settings":
    from pydantic import ValidationError

    from app.settings import Settings

    _warn_of_unknown(f"HOWSURE_{name.upper()}" for name in Settings.model_fields)
    try:
        return Settings(**options)
    except ValidationError as error:
        fail("; ".join(_complaint(found, options) for found in error.errors()), status=2)


def _warn_of_unknown(settings: Iterable[str]) -> None:
    """A misspelt variable would else be passed over in silence; one of another program must not end this one."""
    known = {*settings, *OTHER_VARIABLES}
    for name in sorted(name for name in os.environ if name.startswith("HOWSURE_") and name not in known):
        close = get_close_matches(name, known, 1)
        say(f"warning: {name} is no setting of howsure" + (f"; did you mean {close[0]}?" if close else ""))


def _complaint(found: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """One of pydantic's errors, with the name under which the setting was given."""
    message = str(found["msg"]).removeprefix("Value error, ")
    if not found["loc"]:
        return message
    field = str(found["loc"][0])
    return f"{'--' + field.replace('_', '-') if field in options else 'HOWSURE_' + field.upper()}: {message}"


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _show(reply: "ScoreReply") -> None:
    from app.commands.console import show_scores

    title = f"{reply.model} version {reply.version}: {len(reply.scored)} scored, {len(reply.failed)} failed"
    show_scores(stdout(), reply.items, title)


if __name__ == "__main__":
    main()
