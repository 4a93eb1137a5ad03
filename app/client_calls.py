"""What the clients ask, how they read the replies, and when they try again; no input or output happens here.

A call is a generator: it yields requests and receives responses. `retried` puts pauses and further tries between them.
The clients perform what it yields, one blocking, one in an event loop.
"""

import random
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from app.client_replies import (
    HowsureApiError,
    HowsureConnectionError,
    ModelCard,
    Problem,
    Readiness,
    ScoreReply,
    Versions,
    parse_model,
    parse_problem,
    parse_readiness,
    parse_scores,
    parse_versions,
)

PAGE = 100
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 30.0
# Beside refused connections: one kept alive, which the server closes as we send. No call changes anything, so each may
# be sent twice.
WORTH_RETRYING = (httpx.NetworkError, httpx.ConnectTimeout, httpx.RemoteProtocolError)

NOT_AS_EXPECTED = (ValueError, TypeError, KeyError, AttributeError)

Image = str | PathLike[str] | bytes | tuple[str, bytes]
File = tuple[str, bytes]
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; the call takes replies with one of the `expected` statuses."""

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    files: Sequence[File] = ()
    expected: tuple[int, ...] = (200,)

    def arguments(self) -> dict[str, Any]:
        """For `request` of an httpx client, a new body each time."""
        files = [("files", file) for file in self.files] or None
        return {"method": self.method, "url": self.path, "params": self.params, "files": files}


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait this long before the next request."""

    seconds: float


Outcome = httpx.Response | httpx.RequestError
Call = Generator[Request, httpx.Response, Answer]
Steps = Generator[Request | Pause, Outcome, Answer]


def read_images(images: Iterable[Image]) -> list[File]:
    """Names and contents; an image without a name is named after its position."""
    return [_read_image(image, position) for position, image in enumerate(images)]


def score(
    files: Sequence[File], model: str | None, scores: Sequence[str] | None, top_k: int | None
) -> Call[ScoreReply]:
    options = {"model": model, "scores": None if scores is None else ",".join(scores), "top_k": top_k}
    params = {name: value for name, value in options.items() if value is not None}
    response = yield Request("POST", "/v1/images/score", params, files)
    return parse_scores(response.json())


def models() -> Call[tuple[ModelCard, ...]]:
    body = yield from _pages("/v1/models", "id")
    return tuple(map(parse_model, body["data"]))


def model(name: str) -> Call[ModelCard]:
    response = yield Request("GET", f"/v1/models/{quote(name, safe='')}")
    return parse_model(response.json())


def versions(name: str) -> Call[Versions]:
    body = yield from _pages(f"/v1/models/{quote(name, safe='')}/versions", "version")
    return parse_versions(body)


def report(name: str, version: int) -> Call[dict[str, Any]]:
    response = yield Request("GET", f"/v1/models/{quote(name, safe='')}/versions/{version}/report")
    return dict(response.json())


def ready() -> Call[Readiness]:
    response = yield Request("GET", "/readyz", expected=(200, 503))
    return parse_readiness(response.json())


def retried(call: Call[Answer], seconds: float) -> Steps[Answer]:
    """The call, each request repeated where that may help, for at most `seconds` in all.

    Raises HowsureApiError or HowsureConnectionError when another try would not help, or come too late.
    """
    deadline = time.monotonic() + seconds
    request = next(call)
    while True:
        response = yield from _response(request, deadline)
        try:
            request = call.send(response)
        except StopIteration as stop:
            answer: Answer = stop.value
            return answer
        except NOT_AS_EXPECTED as error:
            raise _not_howsure(response) from error


def _response(request: Request, deadline: float) -> Steps[httpx.Response]:
    backoff = FIRST_PAUSE
    while True:
        outcome = yield request
        if isinstance(outcome, httpx.Response) and outcome.status_code in request.expected:
            return outcome
        pause = _pause(outcome, backoff)
        if pause is None or time.monotonic() + pause > deadline:
            raise _error(outcome)
        yield Pause(pause)
        backoff = min(2 * backoff, LONGEST_PAUSE)


def _pause(outcome: Outcome, backoff: float) -> float | None:
    """Seconds to wait before another try; None when it would be of no use.

    Spread out, so that clients refused together do not come back together, but never shorter than the server asks.
    """
    if not isinstance(outcome, httpx.Response):
        return random.uniform(0.5, 1) * backoff if isinstance(outcome, WORTH_RETRYING) else None
    if outcome.status_code not in (429, 503):
        return None
    asked = _retry_after(outcome)
    return random.uniform(0.5, 1) * backoff if asked is None else min(asked, LONGEST_PAUSE) + random.uniform(0, 0.1)


def _retry_after(response: httpx.Response) -> float | None:
    """The header's seconds, or the seconds until its date."""
    value = response.headers.get("Retry-After", "")
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())


def _error(outcome: Outcome) -> HowsureApiError:
    if isinstance(outcome, httpx.Response):
        try:
            body = outcome.json()
            return HowsureApiError(parse_problem(body), body)
        except NOT_AS_EXPECTED:
            return _not_howsure(outcome)
    where = f"{outcome.request.url.scheme}://{outcome.request.url.netloc.decode()}"
    reason = str(outcome) or type(outcome).__name__
    if isinstance(outcome, WORTH_RETRYING):
        return HowsureConnectionError(Problem(0, "unreachable", f"nothing answers at {where}: {reason}"))
    return HowsureConnectionError(Problem(0, "no_reply", f"no reply from {where}: {reason}"))


def _not_howsure(response: httpx.Response) -> HowsureConnectionError:
    where = response.request.url.copy_with(query=None)
    detail = f"{where} answers with status {response.status_code}, but not as a howsure server does"
    return HowsureConnectionError(Problem(response.status_code, "not_howsure", detail))


def _pages(path: str, key: str) -> Call[dict[str, Any]]:
    """The list at `path` with the entries of all its pages."""
    response = yield Request("GET", path, {"limit": PAGE})
    found = page = dict(response.json())
    while page["has_more"] and page["data"]:
        response = yield Request("GET", path, {"limit": PAGE, "after": page["data"][-1][key]})
        page = dict(response.json())
        found = found | page | {"data": found["data"] + page["data"]}
    return found


def _read_image(image: Image, position: int) -> File:
    if isinstance(image, bytes):
        return f"image-{position}", image
    if isinstance(image, tuple):
        name, content = image
        return name or f"image-{position}", content
    return str(image), Path(image).read_bytes()
