"""Server-sent events of a reply that is streamed."""

import json
import logging
from collections.abc import AsyncIterator, Iterable
from typing import Protocol

from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from app.errors import HowsureError
from app.openai_error import openai_error
from app.scoring.answer_stream import AnswerStream, Piece

log = logging.getLogger("howsure.openai")

DONE = "data: [DONE]\n\n"


class Chunks(Protocol):
    """How pieces of answers are told."""

    def of(self, piece: Piece) -> Iterable[BaseModel]: ...

    def end(self) -> Iterable[BaseModel]: ...


class EventStream(StreamingResponse):
    """Tells the answers as they grow; drops them when the client leaves, also before it was told anything."""

    def __init__(self, stream: AnswerStream, chunks: Chunks) -> None:
        super().__init__(_events(stream, chunks), media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._stream.close()


async def _events(stream: AnswerStream, chunks: Chunks) -> AsyncIterator[str]:
    try:
        async for piece in stream:
            for chunk in chunks.of(piece):
                yield _event(chunk)
        for chunk in chunks.end():
            yield _event(chunk)
        yield DONE
    except HowsureError as error:  # the status has been sent already
        log.warning("stream failed", extra={"event": "stream_failed", "code": error.code, "detail": error.detail})
        yield f"data: {json.dumps(openai_error(error.problem()))}\n\n"


def _event(chunk: BaseModel) -> str:
    return f"data: {chunk.model_dump_json(exclude_unset=True)}\n\n"
