"""ASGI middleware that stops reading a request body at a limit, whatever the request claims its size to be."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import PayloadTooLargeError


class BodyLimit:
    """Raises PayloadTooLargeError out of `receive`, before the body's bytes pile up in memory."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        claimed = dict(scope["headers"]).get(b"content-length", b"0")
        too_large = claimed.isdigit() and int(claimed) > self.max_bytes
        seen = 0

        async def limited() -> Message:
            nonlocal seen
            if too_large:
                raise self._error()
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.max_bytes:
                raise self._error()
            return message

        await self.app(scope, limited, send)

    def _error(self) -> PayloadTooLargeError:
        return PayloadTooLargeError(f"the request body is larger than {self.max_bytes} bytes")
