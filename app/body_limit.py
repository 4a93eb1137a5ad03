"""ASGI middleware that stops reading a request body at a limit, whatever the request claims its size to be."""

from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import PayloadTooLargeError


class BodyLimit:
    """Raises PayloadTooLargeError out of `receive`, before the body's bytes pile up in memory."""

    def __init__(self, app: ASGIApp, max_bytes: int, routes: Mapping[tuple[str, str], int] | None = None) -> None:
        """`routes` are limits of their own, by method and path."""
        self.app = app
        self.max_bytes = max_bytes
        self.routes = routes or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        max_bytes = self.routes.get((scope.get("method", ""), scope.get("path", "")), self.max_bytes)
        claimed = dict(scope["headers"]).get(b"content-length", b"0")
        too_large = claimed.isdigit() and int(claimed) > max_bytes
        seen = 0

        async def limited() -> Message:
            nonlocal seen
            if too_large:
                raise _error(max_bytes)
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > max_bytes:
                raise _error(max_bytes)
            return message

        await self.app(scope, limited, send)


def _error(max_bytes: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(f"the request body is larger than {max_bytes} bytes")
