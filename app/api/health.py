"""`/livez`, `/readyz`, `/health`, `/metrics`: open to all, never limited."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.datastructures import State

from app.api.schemas import Health, JobsHealth, ModelHealth
from app.jobs.job import JobState
from app.scoring.catalog import Catalog, LoadFailure
from app.scoring.loading import Served

router = APIRouter(tags=["health"])


@router.get("/livez", responses={503: {"model": Health}})
async def livez(request: Request, response: Response) -> Health:
    """The event loop turns and the model threads run; 503 means that only a restart helps."""
    state = request.app.state
    if _threads_alive(state) or state.draining:
        return Health(status="ok")
    response.status_code = 503
    return Health(status="not_ready", reasons=["a model thread has died"])


@router.get("/readyz", responses={503: {"model": Health}})
async def readyz(request: Request, response: Response) -> Health:
    """Models are loaded and warm, the model threads run, and the server is not shutting down; else 503 and why."""
    state = request.app.state
    health = _health(state.catalog, _threads_alive(state), state.draining)
    response.status_code = 200 if health.status == "ready" else 503
    return health


@router.get("/health", responses={503: {"model": Health}})
async def health(request: Request, response: Response) -> Health:
    """As `/readyz`, and how the jobs are, which does not decide about being ready."""
    found = await readyz(request, response)
    seen = await request.app.state.glance.look()
    found.jobs = JobsHealth(database="ready" if seen else "away", workers=seen.workers if seen else None)
    return found


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Prometheus metrics."""
    state = request.app.state
    state.metrics.queue.set(
        state.scorer.batcher.admitted + state.prompt_scorer.batcher.admitted + state.generation.admitted
    )
    state.metrics.jobs.clear()
    if (seen := await state.glance.look()) is not None:
        for name in JobState:
            state.metrics.jobs.labels(name).set(seen.counts.get(name, 0))
    return Response(generate_latest(state.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _threads_alive(state: State) -> bool:
    return bool(state.scorer.batcher.alive and state.prompt_scorer.batcher.alive and state.generation.alive)


def _health(catalog: Catalog, threads_alive: bool, draining: bool) -> Health:
    reasons = []
    if draining:
        reasons.append("shutting down")
    if not catalog.loaded:
        reasons.append("models are loading")
    elif not catalog.predictors:
        reasons.append("no model could be loaded")
    if not threads_alive:
        reasons.append("a model thread is not running")
    models = [_served(predictor, catalog.failures.get(name)) for name, predictor in catalog.predictors.items()]
    models += [_unserved(failure) for name, failure in catalog.failures.items() if name not in catalog.predictors]
    return Health(status="not_ready" if reasons else "ready", reasons=reasons, models=models)


def _served(predictor: Served, failure: LoadFailure | None) -> ModelHealth:
    return ModelHealth(
        id=predictor.model,
        status="ready",
        version=predictor.version,
        calibrated=predictor.manifest.calibrator is not None,
        failed_version=failure.version if failure else None,
        reason=failure.reason if failure else None,
    )


def _unserved(failure: LoadFailure) -> ModelHealth:
    return ModelHealth(id=failure.model, status="failed", failed_version=failure.version, reason=failure.reason)
