"""The service: `create_app()` puts settings, scorer, routes and error handlers together. Read this file first.

A request goes: RequestTelemetry → BodyLimit → `api/score.py` → `scoring/scorer.py` → batcher → model thread.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app import openai_error
from app.api import activation, datasets, embed, health, jobs, layers, models, prompts, registration, score
from app.api.embed_schemas import EmbedRequest
from app.api.openai import routes as openai
from app.api.prompt_schemas import PromptItem, PromptMessage, PromptsRequest
from app.api.schemas import ImageItem, ImagesRequest
from app.body_limit import BodyLimit
from app.datasets.catalog import DatasetCatalog
from app.error_handlers import ErrorBoundary, install_handlers
from app.jobs.desk import JobDesk
from app.jobs.glance import Glance
from app.scoring.catalog import Catalog
from app.scoring.cores import Cores
from app.scoring.generation import Generation
from app.scoring.prompt_answering import PromptAnswerer
from app.scoring.prompt_scorer import PromptScorer
from app.scoring.reload import Reloader
from app.scoring.scorer import Scorer
from app.settings import Settings
from app.telemetry import Metrics, RequestTelemetry

log = logging.getLogger("howsure")

SMALL_BODY, CLASSES_BODY = 2**16, 2**20  # bytes, of JSON on routes that take no data; with the names of many classes


def create_app(settings: Settings | None = None, on_fatal: Callable[[str], None] | None = None) -> FastAPI:
    """The ASGI application. `on_fatal` is called when no model at all could be loaded."""
    settings = settings or Settings()
    metrics = Metrics()
    catalog = Catalog(settings)
    cores = Cores(settings.cores)
    scorer = Scorer(settings, catalog, metrics, cores)
    prompt_scorer = PromptScorer(settings, metrics, cores)
    generation = Generation(settings, metrics, cores)
    desk = JobDesk(settings.jobs_database)
    glance = Glance(desk, settings.worker_dead_seconds)
    reloader = Reloader(catalog, metrics, settings.reload_seconds)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        scorer.batcher.start()
        prompt_scorer.batcher.start()
        generation.start()
        await asyncio.to_thread(app.state.datasets.sweep)
        loading = asyncio.create_task(_load(catalog, reloader, on_fatal))
        yield
        app.state.draining = True
        await asyncio.wait({loading})
        reloader_closed = asyncio.to_thread(reloader.close, settings.drain_seconds)
        await asyncio.gather(reloader_closed, scorer.close(), prompt_scorer.close(), generation.close())
        await asyncio.to_thread(glance.close)
        await asyncio.to_thread(desk.close)

    app = FastAPI(
        title="howsure",
        version=version("howsure"),
        summary="How sure is the model? Calibrated confidence and uncertainty scores.",
        lifespan=lifespan,
    )
    app.state.settings = settings
    app.state.metrics = metrics
    app.state.catalog = catalog
    app.state.scorer = scorer
    app.state.prompt_scorer = prompt_scorer
    app.state.generation = generation
    app.state.prompt_answerer = PromptAnswerer(settings, metrics, generation)
    app.state.reloader = reloader
    app.state.datasets = DatasetCatalog.of(settings)
    app.state.desk = desk
    app.state.glance = glance
    app.state.dataset_users = lambda dataset: desk.aside(partial(desk.using, dataset))
    app.state.draining = False
    for noun in (score, embed, prompts, openai, models, layers, registration, activation, datasets, jobs, health):
        app.include_router(noun.router)
    install_handlers(app)
    app.add_middleware(BodyLimit, max_bytes=min(SMALL_BODY, settings.max_body_bytes), routes=_body_limits(settings))
    app.add_middleware(ErrorBoundary)
    app.add_middleware(RequestTelemetry, metrics=metrics)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # FastAPI's documented way to extend it
    return app


def _body_limits(settings: Settings) -> dict[tuple[str, str], int]:
    """Of the routes that take more than a few words. FastAPI reads the bodies of all others before any key is seen."""
    scored = ("/v1/images/score", "/v1/images/embed", "/v1/prompts/score", *openai_error.ROUTES)
    limits = {("POST", path): settings.max_body_bytes for path in scored}
    classes = min(CLASSES_BODY, settings.max_body_bytes)
    return limits | {("POST", "/v1/datasets"): settings.max_dataset_bytes, ("POST", "/v1/models"): classes}


async def _load(catalog: Catalog, reloader: Reloader, on_fatal: Callable[[str], None] | None) -> None:
    try:
        await asyncio.to_thread(reloader.load)
    except Exception as error:
        log.critical("loading failed", exc_info=error, extra={"event": "loading_failed"})
    reloader.start()
    if not catalog.predictors and on_fatal is not None:
        reasons = "; ".join(f"{failure.model}: {failure.reason}" for failure in catalog.failures.values())
        on_fatal(f"no model could be loaded from {catalog.store.root}: {reasons or 'see the log'}")


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document plus the JSON bodies of the routes that read them by themselves."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        schemas = document["components"]["schemas"]
        for body in (ImageItem, ImagesRequest, EmbedRequest, PromptMessage, PromptItem, PromptsRequest, *openai.BODIES):
            schema = body.model_json_schema(ref_template="#/components/schemas/{model}")
            schema.pop("$defs", None)
            schemas[body.__name__] = schema
        app.openapi_schema = document
    return app.openapi_schema
