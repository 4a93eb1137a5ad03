"""Python clients of the HTTP interface: `Client`, and `AsyncClient` with the same methods to await.

    with Client() as client:
        for image in client.score(["cat.jpg"]).scored:
            ...  # image.label, image.confidence, image.uncertainty["entropy"].percentile

They differ only in how they wait and send; `client_calls.py` has what they send, `client_replies.py` what comes back.
"""

import asyncio
import ipaddress
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Generic, Self, TypeVar

import httpx

from app import client_calls as calls
from app.client_calls import Answer, Call, Image, Outcome, Pause, Request, read_images, retried
from app.client_replies import (
    Calibration,
    Evaluation,
    FailedImage,
    HowsureApiError,
    HowsureConnectionError,
    Measures,
    ModelCard,
    Move,
    Problem,
    Readiness,
    ScoredImage,
    ScoreReply,
    TopClass,
    Uncertainty,
    Versions,
    VersionSummary,
)

__all__ = [
    "DEFAULT_URL",
    "AsyncClient",
    "Calibration",
    "Client",
    "Evaluation",
    "FailedImage",
    "HowsureApiError",
    "HowsureConnectionError",
    "Image",
    "Measures",
    "ModelCard",
    "Move",
    "Problem",
    "Readiness",
    "ScoreReply",
    "ScoredImage",
    "TopClass",
    "Uncertainty",
    "VersionSummary",
    "Versions",
]

DEFAULT_URL = "http://127.0.0.1:8000"
CONNECT_SECONDS = 5.0

Http = TypeVar("Http", httpx.Client, httpx.AsyncClient)
Transport = TypeVar("Transport", httpx.BaseTransport, httpx.AsyncBaseTransport)


class _Connection(ABC, Generic[Http, Transport]):
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
        self.retry_seconds = retry_seconds
        key = api_key or os.environ.get("HOWSURE_API_KEY")
        self.http: Http = self._open(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS)),
            # A company's proxy cannot reach an address of this machine.
            trust_env=not _is_loopback(_host(self.url)),
            transport=transport,
        )

    @abstractmethod
    def _open(self, **options: Any) -> Http: ...


class Client(_Connection[httpx.Client, httpx.BaseTransport]):
    """Each method returns when the answer is there, or raises HowsureApiError. A context manager."""

    def score(
        self,
        images: Iterable[Image],
        model: str | None = None,
        scores: Sequence[str] | None = None,
        top_k: int | None = None,
    ) -> ScoreReply:
        """Score images given as paths, bytes, or (name, bytes). A bad one has its error in its place."""
        return self._run(calls.score(read_images(images), model, scores, top_k))

    def models(self) -> tuple[ModelCard, ...]:
        """Every model that has an active version."""
        return self._run(calls.models())

    def model(self, name: str) -> ModelCard:
        """What a model is and how well calibrated."""
        return self._run(calls.model(name))

    def versions(self, name: str) -> Versions:
        """Every version of a model, and which served when."""
        return self._run(calls.versions(name))

    def report(self, name: str, version: int) -> dict[str, Any]:
        """The whole evaluation report of a version."""
        return self._run(calls.report(name, version))

    def ready(self) -> Readiness:
        """One look, without retries."""
        return self._run(calls.ready(), retry_seconds=0)

    def close(self) -> None:
        self.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, **options: Any) -> httpx.Client:
        return httpx.Client(**options)

    def _run(self, call: Call[Answer], retry_seconds: float | None = None) -> Answer:
        steps = retried(call, self.retry_seconds if retry_seconds is None else retry_seconds)
        step = next(steps)
        try:
            while True:
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    step = next(steps)
                else:
                    step = steps.send(self._send(step))
        except StopIteration as stop:
            answer: Answer = stop.value
            return answer

    def _send(self, request: Request) -> Outcome:
        try:
            return self.http.request(**request.arguments())
        except httpx.RequestError as error:
            return error


class AsyncClient(_Connection[httpx.AsyncClient, httpx.AsyncBaseTransport]):
    """`Client` for an event loop."""

    async def score(
        self,
        images: Iterable[Image],
        model: str | None = None,
        scores: Sequence[str] | None = None,
        top_k: int | None = None,
    ) -> ScoreReply:
        """Score images given as paths, bytes, or (name, bytes). A bad one has its error in its place."""
        files = await asyncio.to_thread(read_images, images)
        return await self._run(calls.score(files, model, scores, top_k))

    async def models(self) -> tuple[ModelCard, ...]:
        """Every model that has an active version."""
        return await self._run(calls.models())

    async def model(self, name: str) -> ModelCard:
        """What a model is and how well calibrated."""
        return await self._run(calls.model(name))

    async def versions(self, name: str) -> Versions:
        """Every version of a model, and which served when."""
        return await self._run(calls.versions(name))

    async def report(self, name: str, version: int) -> dict[str, Any]:
        """The whole evaluation report of a version."""
        return await self._run(calls.report(name, version))

    async def ready(self) -> Readiness:
        """One look, without retries."""
        return await self._run(calls.ready(), retry_seconds=0)

    async def close(self) -> None:
        await self.http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _open(self, **options: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(**options)

    async def _run(self, call: Call[Answer], retry_seconds: float | None = None) -> Answer:
        steps = retried(call, self.retry_seconds if retry_seconds is None else retry_seconds)
        step = next(steps)
        try:
            while True:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    step = next(steps)
                else:
                    step = steps.send(await self._send(step))
        except StopIteration as stop:
            answer: Answer = stop.value
            return answer

    async def _send(self, request: Request) -> Outcome:
        try:
            return await self.http.request(**request.arguments())
        except httpx.RequestError as error:
            return error


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
