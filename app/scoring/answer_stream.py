"""The answers to one request as they grow: written by the generation thread, read on the caller's event loop."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from app.errors import HowsureError, TimedOutError
from models.language.generation.token import Finish, Token


@dataclass(frozen=True, slots=True)
class Piece:
    """What was added to the answer of this number; `finish` where it is whole."""

    answer: int
    tokens: Sequence[Token]
    finish: Finish | None


Written = Piece | HowsureError


class AnswerStream:
    """`async for piece in stream`, until all `answers` are whole; raises the HowsureError that ended them, or that the
    time is up.

    Whoever has it closes it; then, or when its time is up, the sequences are dropped before their next token.
    """

    def __init__(self, answers: int, seconds: float) -> None:
        self._open = answers
        self._seconds = seconds
        self._ends = time.monotonic() + seconds
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._written: asyncio.Queue[Written] = asyncio.Queue()

    @property
    def gone(self) -> bool:
        """Whether nobody waits for more."""
        return self._closed or time.monotonic() >= self._ends

    def close(self) -> None:
        self._closed = True

    def __aiter__(self) -> "AnswerStream":
        return self

    async def __anext__(self) -> Piece:
        if not self._open:
            raise StopAsyncIteration
        try:
            async with asyncio.timeout(self._ends - time.monotonic()):
                found = await self._written.get()
        except TimeoutError:
            raise TimedOutError(f"the answer was not whole within {self._seconds:g} s") from None
        if isinstance(found, HowsureError):
            raise found
        self._open -= found.finish is not None
        return found

    @staticmethod
    def write(written: Iterable[tuple["AnswerStream", Written]]) -> None:
        """Hand over from another thread, one call an event loop."""
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[AnswerStream, Written]]] = {}
        for stream, each in written:
            by_loop.setdefault(stream._loop, []).append((stream, each))
        for loop, entries in by_loop.items():
            with suppress(RuntimeError):  # the loop is closed: nobody waits there any more
                loop.call_soon_threadsafe(_put, entries)


def _put(entries: Iterable[tuple[AnswerStream, Written]]) -> None:
    for stream, each in entries:
        stream._written.put_nowait(each)
