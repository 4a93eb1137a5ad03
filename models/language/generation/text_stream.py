"""From tokens to text as it grows: never half a character, and nothing of a stop string."""

import codecs
from collections.abc import Sequence
from dataclasses import replace

from models.language.generation.token import Token


class TextStream:
    """Tokens go in with the bytes that they add to the text, and come out with `text` once that is sure to stay.

    Bytes that are no UTF-8 become U+FFFD, as in the tokenizer's own decoding.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop.encode() for stop in stops]
        self._held: list[tuple[Token, bytes]] = []
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: Token, content: bytes) -> tuple[list[Token], bool]:
        """Tokens that are now sure, and whether a stop string has come.

        Then those that begin before it are the last ones, the text of the last cut where it begins.
        """
        self._held.append((token, content))
        waiting = b"".join(each for _, each in self._held)
        if found := [place for stop in self._stops if (place := waiting.find(stop)) >= 0]:
            return self._end(min(found)), True
        sure = len(waiting) - max([0, *(_begun(waiting, stop) for stop in self._stops)])
        return self._release(sure - _incomplete(waiting[:sure])), False

    def finish(self) -> list[Token]:
        """What is still held, when no more tokens come."""
        return self._end(None)

    def _release(self, sure: int) -> list[Token]:
        released, end = [], 0
        for token, content in list(self._held):
            end += len(content)
            if end > sure:
                break
            released.append(replace(token, text=self._decoder.decode(content)))
            del self._held[0]
        return released

    def _end(self, cut: int | None) -> list[Token]:
        released, begin = [], 0
        for token, content in self._held:
            if cut is None or begin < cut:
                kept = content if cut is None else content[: cut - begin]
                released.append(replace(token, text=self._decoder.decode(kept)))
            begin += len(content)
        self._held.clear()
        if rest := self._decoder.decode(b"", final=True):
            released[-1] = replace(released[-1], text=released[-1].text + rest)
        return released


def _begun(waiting: bytes, stop: bytes) -> int:
    """How many bytes at the end may be the beginning of the stop string."""
    longest = min(len(stop) - 1, len(waiting))
    return next((count for count in range(longest, 0, -1) if waiting.endswith(stop[:count])), 0)


def _incomplete(waiting: bytes) -> int:
    """How many bytes at the end may be the beginning of a character."""
    for count in range(1, min(3, len(waiting)) + 1):
        byte = waiting[-count]
        if byte & 0b1100_0000 != 0b1000_0000:
            length = next((size for size, first in ((4, 0xF0), (3, 0xE0), (2, 0xC0)) if byte >= first), 1)
            return count if length > count else 0
    return 0
