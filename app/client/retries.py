"""When a client tries again, and what it raises when it gives up; no input or output happens here.

A call is a generator: it yields requests and receives responses. `retried` puts pauses and further tries between them.
The clients perform what it yields, one blocking, one in an event loop.
"""

import random
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import IO, Any, TypeVar

import httpx

from app.client.replies import HowsureApiError, HowsureConnectionError, Problem, parse_problem

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 30.0
# Beside refused connections: one kept alive, which the server closes as we send. So each call may be sent twice; where
# that needs a reason, the call says it.
WORTH_RETRYING = (httpx.NetworkError, httpx.ConnectTimeout, httpx.RemoteProtocolError)
# Of these, what leaves open whether the server has acted.
LOST_REPLY = (httpx.ReadError, httpx.WriteError, httpx.CloseError, httpx.RemoteProtocolError)
NOT_AS_EXPECTED = (ValueError, TypeError, KeyError, AttributeError)

File = tuple[str, bytes | IO[bytes]]
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; the call takes replies with one of the `expected` statuses.

    `expected_again` are statuses that will also do once an earlier try may have reached the server. `patience` is the
    least time in seconds that the server may take to answer, whatever the client's timeout. A file in `files`, which
    are (form field, file), is read from its beginning with each try.
    """

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    files: Sequence[tuple[str, File]] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    json: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    expected: tuple[int, ...] = (200,)
    expected_again: tuple[int, ...] = ()
    patience: float = 0.0

    def arguments(self) -> dict[str, Any]:
        """For `request` of an httpx client, a new body each time."""
        return {
            "method": self.method,
            "url": self.path,
            "params": self.params,
            "files": list(self.files) or None,
            "data": self.fields or None,
            "json": self.json,
            "headers": self.headers,
        }


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait this long before the next request."""

    seconds: float


Outcome = httpx.Response | httpx.RequestError
Call = Generator[Request, httpx.Response, Answer]
Steps = Generator[Request | Pause, Outcome, Answer]


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
            raise not_howsure(response) from error


def _response(request: Request, deadline: float) -> Steps[httpx.Response]:
    backoff = FIRST_PAUSE
    expected = request.expected
    while True:
        outcome = yield request
        if isinstance(outcome, httpx.Response) and outcome.status_code in expected:
            return outcome
        if isinstance(outcome, LOST_REPLY):
            expected = request.expected + request.expected_again
        pause = pause_after(outcome, backoff)
        if pause is None or time.monotonic() + pause > deadline:
            raise error_of(outcome)
        yield Pause(pause)
        backoff = min(2 * backoff, LONGEST_PAUSE)


def pause_after(outcome: Outcome, backoff: float) -> float | None:
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


def error_of(outcome: Outcome) -> HowsureApiError:
    if isinstance(outcome, httpx.Response):
        try:
            body = outcome.json()
            return HowsureApiError(parse_problem(body), body)
        except NOT_AS_EXPECTED:
            return not_howsure(outcome)
    where = f"{outcome.request.url.scheme}://{outcome.request.url.netloc.decode()}"
    reason = str(outcome) or type(outcome).__name__
    if isinstance(outcome, WORTH_RETRYING):
        return HowsureConnectionError(Problem(0, "unreachable", f"nothing answers at {where}: {reason}"))
    return HowsureConnectionError(Problem(0, "no_reply", f"no reply from {where}: {reason}"))


def not_howsure(response: httpx.Response) -> HowsureConnectionError:
    where = response.request.url.copy_with(query=None)
    detail = f"{where} answers with status {response.status_code}, but not as a howsure server does"
    return HowsureConnectionError(Problem(response.status_code, "not_howsure", detail))
