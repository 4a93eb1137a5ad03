"""Every error renders as RFC 9457, unforeseen ones too, and with the request's id."""

import io
import json
import logging

import httpx
import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException

from app.error_handlers import ErrorBoundary, install_handlers
from app.errors import (
    ConflictError,
    ImageRefusedError,
    InsufficientStorageError,
    InvalidError,
    NotReadyError,
    QueueFullError,
    UnauthorizedError,
)
from app.telemetry import JsonFormatter, Metrics, RequestTelemetry
from models.core.errors import CheckpointError, DataError, UnknownNameError
from models.core.image import ImageError, Refusal
from tests.fixtures.problems import check_problem


@pytest.fixture
def ask():
    """`await ask(error)`: what a caller of a route that raises `error` sees."""

    async def ask(error):
        app = FastAPI()
        install_handlers(app)
        app.add_middleware(ErrorBoundary)
        app.add_middleware(RequestTelemetry, metrics=Metrics())

        @app.get("/fails")
        async def fails() -> None:
            raise error

        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.get("/fails", headers={"X-Request-ID": "asked-for"})

    return ask


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidError("no"), 422, "invalid"),
        (UnknownNameError("model", "x", ["y"]), 404, "not_found"),
        (CheckpointError("manifest.json is torn"), 500, "internal"),
        (DataError("row 3 is bad", [("row 3", "NaN")]), 422, "invalid"),
        (ConflictError("a job uses it"), 409, "conflict"),
        (InsufficientStorageError("the disk is full"), 507, "insufficient_storage"),
        (HTTPException(404), 404, "not_found"),
        (HTTPException(418), 418, "bad_request"),
        (ImageRefusedError(ImageError(Refusal.PIXELS, "big")), 413, "image_too_large"),
        (ZeroDivisionError("secret detail"), 500, "internal"),
    ],
)
async def test_what_a_caller_sees(ask, error, status, code):
    response = await ask(error)
    problem = check_problem(response, status, code)
    assert problem["request_id"] == "asked-for"
    assert "secret detail" not in response.text


@pytest.mark.anyio
async def test_the_log_line_of_an_unforeseen_error_has_the_request_id_and_the_traceback(ask, caplog):
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    logging.getLogger("howsure.errors").addHandler(handler)
    try:
        await ask(ZeroDivisionError("cause"))
    finally:
        logging.getLogger("howsure.errors").removeHandler(handler)
    (line,) = map(json.loads, written.getvalue().splitlines())
    assert line["event"] == "unhandled"
    assert line["request_id"] == "asked-for"
    assert "ZeroDivisionError: cause" in line["traceback"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("error", "header", "value"),
    [
        (QueueFullError("full", 7), "retry-after", "7"),
        (NotReadyError("later"), "retry-after", "5"),
        (UnauthorizedError("key"), "www-authenticate", "Bearer"),
        (HTTPException(405, headers={"Allow": "POST"}), "allow", "POST"),
    ],
)
async def test_headers_that_belong_to_an_error(ask, error, header, value):
    assert (await ask(error)).headers[header] == value
