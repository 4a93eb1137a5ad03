"""The whole service without a socket: a client whose requests go straight into an app in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from app.client import AsyncClient
from app.client.replies import HowsureConnectionError, Problem
from app.main import create_app
from app.settings import Settings
from app.telemetry import configure_logging
from models.checkpoints.shipped import IMAGE_MODELS
from models.core.errors import ModelSideError

POLL_SECONDS = 0.05


@asynccontextmanager
async def in_process_client(settings: Settings) -> AsyncIterator[AsyncClient]:
    """Ready to score when entered. Raises HowsureConnectionError when no model can be loaded."""
    failures: list[str] = []
    if settings.shipped is None:  # images need no language model, which takes a while to unpack
        settings = settings.model_copy(update={"shipped": IMAGE_MODELS})
    try:
        app = create_app(settings, on_fatal=failures.append)
    except ModelSideError as error:
        raise _not_loaded(str(error)) from error
    configure_logging("CRITICAL")  # what fails is raised, or is in the reply
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        AsyncClient("http://127.0.0.1", timeout=settings.request_seconds + 10, transport=transport) as client,
    ):
        while not (await client.ready()).ready:
            if failures:
                raise _not_loaded(failures[0])
            await asyncio.sleep(POLL_SECONDS)
        yield client


def _not_loaded(reason: str) -> HowsureConnectionError:
    return HowsureConnectionError(Problem(0, "not_loaded", reason))
