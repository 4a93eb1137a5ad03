"""The one place that answers with errors: as RFC 9457 problem+json, and on OpenAI's routes in OpenAI's form.

Exceptions of `models/`, FastAPI and Starlette become errors of `errors.py` here; any other is a 500 problem.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import openai_error
from app.errors import (
    MEDIA_TYPE,
    BadRequestError,
    ClientGoneError,
    HowsureError,
    InternalError,
    InvalidError,
    MethodNotAllowedError,
    NotFoundError,
    PayloadTooLargeError,
)
from models.core.errors import CheckpointError, DataError, UnknownNameError

log = logging.getLogger("howsure.errors")

MISFIT = "the request does not fit the schema"
MOST_TOLD = 100  # misfits of a request; a reply must not outgrow it
BY_STATUS: dict[int, type[HowsureError]] = {
    400: BadRequestError,
    404: NotFoundError,
    405: MethodNotAllowedError,
    413: PayloadTooLargeError,
    422: InvalidError,
}


def problem_response(request: Request, error: HowsureError) -> JSONResponse:
    request_id = request.scope.get("request_id")
    body = error.problem(instance=request.url.path, request_id=request_id)
    if request.url.path in openai_error.ROUTES:
        status = openai_error.openai_status(error.status)
        return JSONResponse(openai_error.openai_error(body), status_code=status, headers=error.headers)
    return JSONResponse(body, status_code=error.status, headers=error.headers, media_type=MEDIA_TYPE)


def install_handlers(app: FastAPI) -> None:
    """Make every error of the app a problem+json answer."""

    @app.exception_handler(HowsureError)
    async def known(request: Request, error: HowsureError) -> JSONResponse:
        return problem_response(request, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        found = pointers(error.errors()[:MOST_TOLD], error.body)
        return problem_response(request, InvalidError(MISFIT, errors=found))

    @app.exception_handler(UnknownNameError)
    async def unknown_name(request: Request, error: UnknownNameError) -> JSONResponse:
        return problem_response(request, NotFoundError(str(error)))

    @app.exception_handler(DataError)
    async def bad_data(request: Request, error: DataError) -> JSONResponse:
        errors = [{"row": row, "detail": reason} for row, reason in error.bad]
        return problem_response(request, InvalidError(str(error), errors=errors))

    @app.exception_handler(CheckpointError)
    async def damaged(request: Request, error: CheckpointError) -> JSONResponse:
        log.error("damaged checkpoint", exc_info=error, extra={"event": "damaged_checkpoint"})
        return problem_response(request, InternalError(str(error)))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        return problem_response(request, _from_http(error))

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, _: ClientDisconnect) -> JSONResponse:
        return problem_response(request, ClientGoneError("the client closed the connection before its body was read"))


class ErrorBoundary:
    """ASGI middleware: an unforeseen exception becomes a 500 problem.

    It sits inside RequestTelemetry, as Starlette's own handler does not, so that reply and log carry the request id.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:
            if started or scope["type"] != "http":
                raise
            log.error("unhandled", exc_info=error, extra={"event": "unhandled", "path": scope["path"]})
            problem = InternalError("the request failed inside howsure; see its log")
            await problem_response(Request(scope), problem)(scope, receive, send)


def misfit(error: ValidationError) -> InvalidError:
    """Points at what does not fit the schema, unless that is in too many places to be told."""
    count = error.error_count()
    if count > MOST_TOLD:
        return InvalidError(f"{MISFIT} in {count} places")
    found = pointers(error.errors(include_input=False, include_url=False, include_context=False))
    return InvalidError(MISFIT, errors=found)


def pointers(errors: Sequence[Any], document: object = None) -> list[dict[str, str]]:
    """Pydantic's error list as RFC 9457 `errors` members with JSON pointers; the offending values are left out."""
    return [
        {"pointer": _pointer(error["loc"], document), "detail": error["msg"].removeprefix("Value error, ")}
        for error in errors
    ]


def _pointer(place: Sequence[Any], document: object) -> str:
    parts = [str(part) for part in place if part != "body"]
    # Pydantic names first which form of a body it tried, such as `calibrate`; that is no part of the document.
    if place[:1] == ("body",) and len(parts) > 1 and isinstance(document, Mapping) and parts[0] not in document:
        parts = parts[1:]
    return "/" + "/".join(parts)


def _from_http(error: HTTPException) -> HowsureError:
    # FastAPI makes its own 400 of whatever stops the reading of a body, such as the limit of its size.
    if isinstance(error.__cause__, HowsureError):
        return error.__cause__
    found = BY_STATUS.get(error.status_code, BadRequestError)(str(error.detail), headers=error.headers)
    found.status = error.status_code
    return found
