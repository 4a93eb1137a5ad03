"""`POST /v1/models/{model}/activate`: which version serves. Rolling back is the same call with an older version."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Path

from app.api.deps import CatalogDep, ReloaderDep, problems, require
from app.api.model_schemas import Activated, ActivateRequest, Move
from app.errors import InvalidError
from app.keys import ApiKey, Scope
from app.scoring.catalog import Catalog
from models.core.errors import CheckpointError

router = APIRouter(prefix="/v1/models", tags=["models"], responses=problems(400, 401, 403, 404, 413, 422, 500))

SWAP_SECONDS = 5.0  # how long an answer waits for this process to serve the version


@router.post("/{model}/activate")
def activate(
    catalog: CatalogDep,
    reloader: ReloaderDep,
    key: Annotated[ApiKey | None, Depends(require(Scope.ADMIN))],
    model: Annotated[str, Path(max_length=100)],
    wanted: ActivateRequest,
) -> Activated:
    """Make a version the one that serves, in this process and in every other one on the store.

    The version is verified first. Requests under way are answered by the version that they began with. Activating the
    version that is active already changes nothing and adds nothing to the history, so the call may be sent again.
    """
    _verify(catalog, model, wanted.version)
    before = catalog.store.find_active(model)
    previous = before.version if before else None
    actor = key.name if key else "anonymous"
    if previous != wanted.version:
        catalog.store.activate(model, wanted.version, actor=actor, reason=wanted.reason)
    active = catalog.store.active(model)
    reloader.look_now(SWAP_SECONDS)
    serving, failure = catalog.predictors.get(model), catalog.failures.get(model)
    return Activated(
        model=model,
        version=active.version,
        previous=previous,
        serving=serving.version if serving else None,
        reason=failure.reason if failure and failure.version == active.version else None,
        history=[Move(**asdict(move)) for move in active.history],
    )


def _verify(catalog: Catalog, model: str, version: int) -> None:
    try:
        catalog.store.verify(model, version)
    except CheckpointError as error:
        detail = f"version {version} of {model} is damaged and cannot serve: {error}"
        raise InvalidError(detail, errors=[{"pointer": "/version", "detail": str(error)}]) from error
