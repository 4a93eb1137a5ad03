"""What routes depend on: the parts of the running service, and the key of the request.

All are coroutines: FastAPI would give each plain function a thread, which costs more than they do.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from app.api.schemas import Problem
from app.errors import MEDIA_TYPE, ForbiddenError, UnauthorizedError
from app.keys import Scope, find_key
from app.scoring.catalog import Catalog
from app.scoring.scorer import Scorer
from app.settings import Settings

bearer = HTTPBearer(auto_error=False, description="An API key")
header = APIKeyHeader(name="X-API-Key", auto_error=False)


async def get_settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def get_scorer(request: Request) -> Scorer:
    scorer: Scorer = request.app.state.scorer
    return scorer


async def get_catalog(request: Request) -> Catalog:
    catalog: Catalog = request.app.state.catalog
    return catalog


SettingsDep = Annotated[Settings, Depends(get_settings)]
ScorerDep = Annotated[Scorer, Depends(get_scorer)]
CatalogDep = Annotated[Catalog, Depends(get_catalog)]


def require(scope: Scope) -> Callable[..., Awaitable[None]]:
    """A dependency that lets a request pass when no keys are set, or when its key has the scope."""

    async def check(
        settings: SettingsDep,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
        api_key: Annotated[str | None, Depends(header)],
    ) -> None:
        if not settings.api_keys:
            return
        secret = credentials.credentials if credentials else api_key
        if not secret:
            raise UnauthorizedError("send a key as `Authorization: Bearer …` or `X-API-Key: …`")
        key = find_key(settings.api_keys, secret)
        if key is None:
            raise UnauthorizedError("this key is not known")
        if not key.allows(scope):
            raise ForbiddenError(f"key {key.name} lacks the scope {scope}")

    return check


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route for these error statuses."""
    return {
        status: {"description": "Problem", "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}}
        for status in statuses
    }
