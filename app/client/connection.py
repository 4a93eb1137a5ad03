"""What both clients have in common: the server's address, the key, and how long they wait."""

import ipaddress
import os
from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

import httpx

from app.client.replies import HowsureConnectionError, Problem
from app.client.retries import Request

DEFAULT_URL = "http://127.0.0.1:8000"
CONNECT_SECONDS = 5.0

Http = TypeVar("Http", httpx.Client, httpx.AsyncClient)
Transport = TypeVar("Transport", httpx.BaseTransport, httpx.AsyncBaseTransport)


class Connection(ABC, Generic[Http, Transport]):
    """Address, key and limits. Without arguments HOWSURE_URL and HOWSURE_API_KEY say them.

    `timeout` is for one try; `retry_seconds` is for a whole call with all its tries and pauses, 0 for one try.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = 60.0,
        retry_seconds: float = 30.0,
        transport: Transport | None = None,
    ) -> None:
        self.url = (url or os.environ.get("HOWSURE_URL") or DEFAULT_URL).rstrip("/")
        self.timeout = timeout
        self.retry_seconds = retry_seconds
        key = api_key or os.environ.get("HOWSURE_API_KEY")
        self.http: Http = self._open(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=self._waits(timeout),
            # A company's proxy cannot reach an address of this machine.
            trust_env=not _is_loopback(_host(self.url)),
            transport=transport,
        )

    @abstractmethod
    def _open(self, **options: Any) -> Http: ...

    def arguments(self, request: Request) -> dict[str, Any]:
        """For `request` and `stream` of an httpx client."""
        return request.arguments() | {"timeout": self._waits(max(self.timeout, request.patience))}

    @staticmethod
    def _waits(seconds: float) -> httpx.Timeout:
        return httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))


def _host(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise HowsureConnectionError(Problem(0, "invalid_url", f"{url} is not an address: {error}")) from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise HowsureConnectionError(Problem(0, "invalid_url", f"{url} does not begin with http:// or https://"))
    return parsed.host


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
