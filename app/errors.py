"""Every error a caller can see, and its problem object of RFC 9457; `error_handlers.py` answers with them.

HowsureError
├── BadRequestError            400  the request cannot be read
├── UnauthorizedError          401  no key, or an unknown one
├── ForbiddenError             403  the key lacks the scope
├── NotFoundError              404  no such model, version or route
├── MethodNotAllowedError      405  the route is there, but not for this method
├── ConflictError              409  it is in use, or already another
├── PayloadTooLargeError       413  more bytes, pixels or items than allowed
├── UnsupportedMediaTypeError  415  a body or image of another type
├── InvalidError               422  readable, but not acceptable
│   ├── ImageRefusedError      413, 415 or 422, one image of a request
│   └── NoneScoredError        every item of a request failed; the status they agree on
├── QueueFullError             429  more work than the queue takes; Retry-After says when to come back
├── ClientGoneError            499  the caller hung up; nobody reads this, it is for log and metrics
├── InternalError              500  a fault of ours
├── BadGatewayError            502  a server that this one asks does not answer
├── NotReadyError              503  still loading, or shutting down
├── TimedOutError              504  the request's time was up
└── InsufficientStorageError   507  the disk is full
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from models.core.image import ImageError, Refusal

MEDIA_TYPE = "application/problem+json"


class HowsureError(Exception):
    """Carries what the caller sees: a stable code, a status, a title for the kind and a detail for this case."""

    code: str
    status: int
    title: str

    def __init__(
        self,
        detail: str,
        *,
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})

    def problem(self, instance: str | None = None, request_id: str | None = None) -> dict[str, Any]:
        """The problem object of RFC 9457."""
        body: dict[str, Any] = {
            "type": f"urn:howsure:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        optional = {"instance": instance, "request_id": request_id, "errors": list(self.errors)}
        return body | {name: value for name, value in optional.items() if value}


class BadRequestError(HowsureError):
    """The request cannot be read."""

    code, status, title = "bad_request", 400, "Bad request"


class UnauthorizedError(HowsureError):
    """No key, or an unknown one."""

    code, status, title = "unauthorized", 401, "A valid API key is needed"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class ForbiddenError(HowsureError):
    """The key is known but lacks the scope."""

    code, status, title = "forbidden", 403, "The API key may not do this"


class NotFoundError(HowsureError):
    """No such model, version or route."""

    code, status, title = "not_found", 404, "Not found"


class MethodNotAllowedError(HowsureError):
    """The route is there, but not for this method."""

    code, status, title = "method_not_allowed", 405, "Method not allowed"


class ConflictError(HowsureError):
    """What is there already forbids it."""

    code, status, title = "conflict", 409, "Conflict"


class PayloadTooLargeError(HowsureError):
    """More bytes or items than allowed."""

    code, status, title = "payload_too_large", 413, "Too large"


class UnsupportedMediaTypeError(HowsureError):
    """The body is of a type that the route does not take."""

    code, status, title = "unsupported_media_type", 415, "Unsupported media type"


class InvalidError(HowsureError):
    """Readable, but not acceptable; `errors` points at the fields."""

    code, status, title = "invalid", 422, "Invalid request"


class ImageRefusedError(InvalidError):
    """One image cannot be scored; the code says why."""

    title = "Image refused"
    STATUSES: ClassVar[dict[Refusal, int]] = {Refusal.FORMAT: 415, Refusal.PIXELS: 413}

    def __init__(self, error: ImageError) -> None:
        super().__init__(str(error))
        self.status = self.STATUSES.get(error.refusal, 422)
        self.code = error.refusal.value


class NoneScoredError(InvalidError):
    """Every item of a request failed. Status and code are the items' own where they agree.

    Where they differ, a fault of ours counts before a fault of the caller's: the request may be sent again.
    """

    def __init__(self, detail: str, failed: Sequence[HowsureError], errors: Sequence[Mapping[str, Any]]) -> None:
        status = max(error.status for error in failed)
        telling = [error for error in failed if error.status == status]
        agreed = len({(error.status, error.code) for error in failed}) == 1
        super().__init__(detail, errors=errors, headers=telling[0].headers if agreed or status >= 500 else None)
        if agreed or status >= 500:
            self.status, self.code, self.title = status, telling[0].code, telling[0].title
        elif len({error.status for error in failed}) == 1:
            self.status = status


class QueueFullError(HowsureError):
    """The queue is full; `seconds` is when there should be room again."""

    code, status, title = "queue_full", 429, "Too many requests"

    def __init__(self, detail: str, seconds: int) -> None:
        super().__init__(detail, headers={"Retry-After": str(seconds)})


class ClientGoneError(HowsureError):
    """The caller hung up. Nobody reads the answer; log and metrics have the status."""

    code, status, title = "client_gone", 499, "Client gone"


class InternalError(HowsureError):
    """A fault of ours; the log line with the same request id has the cause."""

    code, status, title = "internal", 500, "Internal error"


class BadGatewayError(HowsureError):
    """A server that this one asks does not answer, or not as it should."""

    code, status, title = "bad_gateway", 502, "Another server does not answer"


class NotReadyError(HowsureError):
    """Still loading, or shutting down."""

    code, status, title = "not_ready", 503, "Not ready"

    def __init__(self, detail: str, seconds: int = 5) -> None:
        super().__init__(detail, headers={"Retry-After": str(seconds)})


class TimedOutError(HowsureError):
    """The request's time was up before an answer was there."""

    code, status, title = "timed_out", 504, "Timed out"


class InsufficientStorageError(HowsureError):
    """The disk is full; what was written for this request has been removed."""

    code, status, title = "insufficient_storage", 507, "Insufficient storage"
