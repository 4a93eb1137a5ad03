"""`howsure score`: image files to a table, the API's JSON, or a page of pictures; a server is needed only if named."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.settings import read_settings
from app.commands.terminal import AsJson, Key, Url, api_errors, fail, print_json, say, stdout

if TYPE_CHECKING:
    from app.client import AsyncClient
    from app.client.replies import ScoreReply


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
    sort: Annotated[
        str | None, typer.Option(metavar="SCORE", help="All images in one order, the most uncertain by it first.")
    ] = None,
    gallery: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page of the most and the least uncertain images.")
    ] = None,
    gallery_size: Annotated[int, typer.Option(min=1, help="Images on that page of either sort.")] = 24,
    as_json: AsJson = False,
) -> None:
    """Score images, by a server or, where none is at hand, in this process. Exit status 1 when any could not be."""
    from app.commands.score_files import image_files, score_files

    if gallery is not None:
        _check_gallery(gallery, sort)
    files = image_files(paths)
    if not files:
        fail(f"no image files below {', '.join(map(str, paths))}", status=2)
    if sort is not None and f"{sort}:exact" in (scores or "").split(","):
        _check_order(sort, files)

    async def run() -> "ScoreReply":
        async with _client(url, api_key) as client:
            names = None if scores is None else scores.split(",")
            return await score_files(
                client,
                files,
                model=model,
                scores=names,
                top_k=top_k,
                exact_top=exact_top,
                budget_ms=budget_ms,
                sort=sort,
            )

    with api_errors(as_json):
        reply = asyncio.run(run())
    if as_json:
        print_json(reply.raw)
    else:
        show(reply, sort)
    if gallery is not None and sort is not None:
        with api_errors():
            _write_gallery(gallery, reply, files, sort, gallery_size)
    if reply.failed:
        raise typer.Exit(1)


def show(reply: "ScoreReply", sort: str | None = None) -> None:
    """The reply as a table, under a title that names the order."""
    from app.commands.console import show_scores

    order = f"; most uncertain first, by {sort}" if sort else ""
    title = f"{reply.model} version {reply.version}: {len(reply.scored)} scored, {len(reply.failed)} failed{order}"
    show_scores(stdout(), reply.items, title)


@asynccontextmanager
async def _client(url: str | None, api_key: str | None) -> AsyncIterator["AsyncClient"]:
    from app.client import AsyncClient
    from app.client.replies import HowsureConnectionError

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
    settings = read_settings({"host": "127.0.0.1", "api_keys": ()})
    async with in_process_client(settings) as client:
        yield client


def _check_order(sort: str, files: Iterable[Path]) -> None:
    """Where time runs out exact values stand beside fast ones; without a percentile only one request can order them."""
    from app.commands.score_files import portions

    if len(list(portions(files))) > 1:
        fail(f"--sort {sort} with {sort}:exact: so many files take several requests; sort by its fast form", status=2)


def _check_gallery(file: Path, sort: str | None) -> None:
    """Before many images are scored for nothing."""
    if sort is None:
        fail("--gallery needs an order: add --sort SCORE", status=2)
    if not file.parent.is_dir():
        fail(f"--gallery: there is no folder {file.parent}; make it first", status=2)
    if file.is_dir():
        fail(f"--gallery: {file} is a folder; name a file in it", status=2)


def _write_gallery(file: Path, reply: "ScoreReply", images: Iterable[Path], sort: str, size: int) -> None:
    from app.commands.gallery import gallery_page

    file.write_text(gallery_page(reply, images, sort, size), encoding="utf-8")
    say(f"The most and the least uncertain images are in {file}")
