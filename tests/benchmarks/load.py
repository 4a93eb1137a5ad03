"""A cheap load generator for one machine: N clients, each with one keep-alive connection and one request in flight.

    python -m tests.benchmarks.load --url http://127.0.0.1:8000/v1/images/score --clients 16 --seconds 5 --file cat.jpg

It shares the cores with the server it measures, so the request is built once, sockets are polled in one thread, and
of a reply only the status, the length and (with `--contains`) a few words are looked at. Loopback only.
"""

import argparse
import ipaddress
import json
import math
import selectors
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from tests.benchmarks.connection import Connection, Reply, ReplyError

PAUSE_AFTER_FAILURE = 0.05


@dataclass(frozen=True, slots=True)
class Target:
    """A loopback address and the bytes to send to it, again and again."""

    host: str
    port: int
    request: bytes

    @classmethod
    def build(cls, url: str, body: bytes, content_type: str, headers: Sequence[str] = ()) -> "Target":
        """A POST of `body`. Raises ValueError unless `url` is plain HTTP to a loopback address."""
        parts = urlsplit(url)
        host = _loopback(parts)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [
            f"POST {path} HTTP/1.1",
            f"Host: {parts.netloc}",
            f"Content-Type: {content_type}",
            f"Content-Length: {len(body)}",
            *headers,
        ]
        return cls(host, parts.port or 80, "\r\n".join([*lines, "", ""]).encode() + body)


@dataclass(slots=True)
class Result:
    """What a run saw within its window; latencies and the rate are those of replies with status 200."""

    clients: int
    seconds: float
    requests_per_second: float = 0.0
    p50_ms: float | None = None
    p99_ms: float | None = None
    statuses: dict[str, int] = field(default_factory=dict)
    wrong: int = 0  # replies with status 200 that lack a word of `--contains`
    failures: dict[str, int] = field(default_factory=dict)  # requests without a reply, by reason


class Run:
    """Call `run` once."""

    def __init__(self, target: Target, clients: int, contains: Sequence[str] = (), pause: float = 0.0) -> None:
        self.target = target
        self.clients = clients
        self.contains = [word.encode() for word in contains]
        self.pause = pause
        self.statuses: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.latencies: list[float] = []
        self.wrong = 0
        self.selector = selectors.DefaultSelector()
        self.resting: list[tuple[float, Connection]] = []

    def run(self, seconds: float, warmup: float = 0.0) -> Result:
        """Send for `warmup` + `seconds`; only what is answered in the last `seconds` counts."""
        connections = [Connection(self.target.host, self.target.port, self.target.request) for _ in range(self.clients)]
        opens = time.perf_counter() + warmup
        try:
            for connection in connections:
                self._send(connection)
            self._poll_until(opens)
            self._forget()
            self._poll_until(opens + seconds)
        finally:
            for connection in connections:
                connection.close()
            self.selector.close()
        return self._result(seconds)

    def took(self, reply: Reply) -> None:
        """Count a reply."""
        self.statuses[str(reply.status)] += 1
        if reply.status == 200:
            self.latencies.append(reply.seconds)
            self.wrong += not all(word in reply.content for word in self.contains)

    def _poll_until(self, deadline: float) -> None:
        while (now := time.perf_counter()) < deadline:
            self._wake(now)
            next_wake = min((at for at, _ in self.resting), default=deadline)
            for key, events in self.selector.select(max(0.0, min(deadline, next_wake) - now)):
                self._turn(key.data, events)

    def _turn(self, connection: Connection, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE and connection.send():
                self.selector.modify(connection.socket, selectors.EVENT_READ, connection)
            reply = connection.receive()
        except (OSError, ReplyError) as error:
            self._fail(connection, error)
            return
        if reply is None:
            return
        self.took(reply)
        if reply.closes:
            self._close(connection)
        if reply.status != 200 and self.pause:
            self._rest(connection, self.pause)
        else:
            self._send(connection)

    def _send(self, connection: Connection) -> None:
        try:
            fresh = connection.start()
            events = selectors.EVENT_READ if connection.send() else selectors.EVENT_READ | selectors.EVENT_WRITE
        except OSError as error:
            self._fail(connection, error)
            return
        if fresh:
            self.selector.register(connection.socket, events, connection)
        elif events & selectors.EVENT_WRITE:
            self.selector.modify(connection.socket, events, connection)

    def _fail(self, connection: Connection, error: Exception) -> None:
        """A server that is gone must not be asked in a tight loop."""
        self.failures[str(error) if isinstance(error, ReplyError) else type(error).__name__] += 1
        self._close(connection)
        self._rest(connection, max(self.pause, PAUSE_AFTER_FAILURE))

    def _close(self, connection: Connection) -> None:
        if connection.opened and connection.socket in self.selector.get_map():
            self.selector.unregister(connection.socket)
        connection.close()

    def _rest(self, connection: Connection, seconds: float) -> None:
        self.resting.append((time.perf_counter() + seconds, connection))

    def _wake(self, now: float) -> None:
        due = [connection for at, connection in self.resting if at <= now]
        if due:
            self.resting = [(at, connection) for at, connection in self.resting if at > now]
            for connection in due:
                self._send(connection)

    def _forget(self) -> None:
        self.statuses.clear()
        self.failures.clear()
        self.latencies.clear()
        self.wrong = 0

    def _result(self, seconds: float) -> Result:
        return Result(
            clients=self.clients,
            seconds=seconds,
            requests_per_second=round(len(self.latencies) / seconds, 2),
            p50_ms=percentile_ms(self.latencies, 0.50),
            p99_ms=percentile_ms(self.latencies, 0.99),
            statuses=dict(sorted(self.statuses.items())),
            wrong=self.wrong,
            failures=dict(self.failures),
        )


def percentile_ms(seconds: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile in milliseconds; None without values."""
    if not seconds:
        return None
    return round(1000 * sorted(seconds)[max(0, math.ceil(share * len(seconds)) - 1)], 3)


def multipart(content: bytes, name: str, field: str = "files") -> tuple[bytes, str]:
    """A form with one file, and its content type."""
    boundary = "howsure-benchmark-boundary"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    return head.encode() + content + f"\r\n--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def _loopback(parts: SplitResult) -> str:
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"need an http:// address, got {parts.geturl()!r}")
    found = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    if not all(ipaddress.ip_address(address).is_loopback for address in addresses):
        raise ValueError(f"{parts.hostname} is not a loopback address: this tool only loads servers of its own machine")
    return addresses[0]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--file", type=Path, required=True, help="the body, sent with every request")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--warmup", type=float, default=0.0, help="seconds of load before the window that counts")
    parser.add_argument("--content-type", default="image/jpeg")
    parser.add_argument("--multipart", action="store_true", help="send the file as the form field `files`")
    parser.add_argument("--header", action="append", default=[], help="'Name: value', repeatable")
    parser.add_argument("--contains", action="append", default=[], help="what a reply must contain, repeatable")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds a client rests after a reply that is not 200")
    parser.add_argument("--json", action="store_true", help="print the JSON on one line")
    return parser.parse_args()


def main() -> None:
    given = _arguments()
    body, content_type = given.file.read_bytes(), given.content_type
    if given.multipart:
        body, content_type = multipart(body, given.file.name)
    try:
        target = Target.build(given.url, body, content_type, given.header)
    except (ValueError, OSError) as error:
        raise SystemExit(f"load: {error}") from error
    result = Run(target, given.clients, given.contains, given.pause).run(given.seconds, given.warmup)
    print(json.dumps(asdict(result), indent=None if given.json else 1))


if __name__ == "__main__":
    main()
