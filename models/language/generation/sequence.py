"""One answer as it grows."""

from collections.abc import Sequence as Several
from dataclasses import dataclass

from models.language.generation.sampling import Sampling
from models.language.generation.text_stream import TextStream
from models.language.generation.token import Finish, Token
from models.language.generation.token_bytes import TokenBytes


@dataclass(frozen=True, slots=True)
class Grown:
    """What a step added to a sequence: tokens whose text is sure, and the end where it has come."""

    sequence: "Sequence"
    tokens: Several[Token]
    finish: Finish | None


class Sequence:
    """The answer of this `number` to a prompt; `last` is its newest token, which the network has yet to read."""

    def __init__(self, sampling: Sampling, number: int) -> None:
        self.sampling = sampling
        self.number = number
        self.generator = sampling.generator(number)
        self.last = -1
        self._left = sampling.max_tokens
        self._text = TextStream(sampling.stops)

    def grow(self, token: Token, content: TokenBytes, ends: frozenset[int]) -> Grown:
        """Takes a token; one of `ends` is no part of the answer."""
        if token.id in ends:
            return Grown(self, self._text.finish(), Finish.STOP)
        self.last = token.id
        self._left -= 1
        tokens, stopped = self._text.push(token, content.in_text(token.id))
        if stopped:
            return Grown(self, tokens, Finish.STOP)
        if not self._left:
            return Grown(self, [*tokens, *self._text.finish()], Finish.LENGTH)
        return Grown(self, tokens, None)

    def broken(self) -> Grown:
        return Grown(self, self._text.finish(), Finish.BROKEN)
