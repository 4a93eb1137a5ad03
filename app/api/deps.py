"""What routes depend on: the parts of the running service, and the key of the request.

All are coroutines: FastAPI would give each plain function a thread, which costs more than they do.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from app.api.schemas import Problem
from app.datasets.catalog import DatasetCatalog
from app.errors import MEDIA_TYPE, ForbiddenError, UnauthorizedError
from app.jobs.desk import JobDesk
from app.keys import ApiKey, Scope, find_key
from app.scoring.catalog import Catalog
from app.scoring.generation import Generation
from app.scoring.prompt_answering import PromptAnswerer
from app.scoring.prompt_scorer import PromptScorer
from app.scoring.reload import Reloader
from app.scoring.scorer import Scorer
from app.settings import Settings

bearer = HTTPBearer(auto_error=False, description="An API key")
header = APIKeyHeader(name="X-API-Key", auto_error=False)


def _part(name: str) -> Any:
    """A dependency on one part of `app.state`, which `create_app` puts there."""

    async def part(request: Request) -> Any:
        return getattr(request.app.state, name)

    return Depends(part)


SettingsDep = Annotated[Settings, _part("settings")]
ScorerDep = Annotated[Scorer, _part("scorer")]
PromptScorerDep = Annotated[PromptScorer, _part("prompt_scorer")]
PromptAnswererDep = Annotated[PromptAnswerer, _part("prompt_answerer")]
GenerationDep = Annotated[Generation, _part("generation")]
CatalogDep = Annotated[Catalog, _part("catalog")]
DatasetsDep = Annotated[DatasetCatalog, _part("datasets")]
DeskDep = Annotated[JobDesk, _part("desk")]
ReloaderDep = Annotated[Reloader, _part("reloader")]


def require(scope: Scope) -> Callable[..., Awaitable[ApiKey | None]]:
    """A dependency that lets a request pass when no keys are set, or when its key has the scope; it gives the key."""

    async def check(
        settings: SettingsDep,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
        api_key: Annotated[str | None, Depends(header)],
    ) -> ApiKey | None:
        if not settings.api_keys:
            return None
        secret = credentials.credentials if credentials else api_key
        if not secret:
            raise UnauthorizedError("send a key as `Authorization: Bearer …` or `X-API-Key: …`")
        key = find_key(settings.api_keys, secret)
        if key is None:
            raise UnauthorizedError("this key is not known")
        if not key.allows(scope):
            raise ForbiddenError(f"key {key.name} lacks the scope {scope}")
        return key

    return check


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route for these error statuses."""
    return {
        status: {"description": "Problem", "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}}
        for status in statuses
    }
