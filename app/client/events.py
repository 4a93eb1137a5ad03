"""Following a job: reads server-sent events (WHATWG HTML, section 9.2), and knows how to go on after a lost connection.

No input or output happens here: a client opens what `request` says, gives `begin` the response, `read` its lines and
`end` how it ended, and waits as long as that says, until the job is `over`.
"""

import json
import random
import time

import httpx

from app.client import job_calls as calls
from app.client.job_replies import OVER, JobEvent
from app.client.retries import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    NOT_AS_EXPECTED,
    Outcome,
    Request,
    error_of,
    not_howsure,
    pause_after,
)


class Following:
    """One job's events from the first one on. The tries to get back to the server may take `retry_seconds`."""

    def __init__(self, job: str, retry_seconds: float) -> None:
        self.job = job
        self.retry_seconds = retry_seconds
        self.over = False
        self._last = 0
        self._final = False
        self._fields: dict[str, str] = {}
        self._backoff = FIRST_PAUSE
        self._deadline: float | None = None

    def request(self) -> Request:
        return calls.events(self.job, self._last)

    def begin(self, response: httpx.Response) -> bool:
        """Whether there are lines to read. Raises HowsureConnectionError when it is no stream of events."""
        if response.status_code != 200:
            return False
        if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
            raise not_howsure(response)
        self._response = response
        self._fields = {}
        self._in_contact()
        return True

    def read(self, line: str) -> JobEvent | None:
        """The event that the line completes. Raises HowsureConnectionError when it cannot be read."""
        if line:
            name, _, value = line.partition(":")
            self._fields[name] = value.removeprefix(" ")
            return None
        fields, self._fields = self._fields, {}
        if "data" not in fields:
            return None
        try:
            event = _event(fields)
        except NOT_AS_EXPECTED as error:
            raise not_howsure(self._response) from error
        self._last = event.number
        self._final = self._final or (event.kind == "state" and event.data.get("state") in OVER)
        self._in_contact()
        return event

    def end(self, outcome: Outcome) -> float:
        """Seconds to wait before the next request, after a response was read to its end or an error came instead.

        Raises HowsureApiError or HowsureConnectionError when another try would not help, or come too late.
        """
        if isinstance(outcome, httpx.Response) and outcome.status_code == 200:
            # A server that stops ends the stream before the job has ended.
            self.over = self._final
            return 0.0 if self.over else random.uniform(0.5, 1) * FIRST_PAUSE
        return self._again(outcome)

    def _again(self, outcome: Outcome) -> float:
        if self._deadline is None:
            self._deadline = time.monotonic() + self.retry_seconds
        silence = isinstance(outcome, httpx.ReadTimeout)
        pause = FIRST_PAUSE if silence else pause_after(outcome, self._backoff)
        if pause is None or time.monotonic() + pause > self._deadline:
            raise error_of(outcome)
        self._backoff = min(2 * self._backoff, LONGEST_PAUSE)
        return pause

    def _in_contact(self) -> None:
        self._backoff = FIRST_PAUSE
        self._deadline = None


def _event(fields: dict[str, str]) -> JobEvent:
    data = dict(json.loads(fields["data"]))
    return JobEvent(int(fields["id"]), fields["event"], float(data.pop("at")), data)
