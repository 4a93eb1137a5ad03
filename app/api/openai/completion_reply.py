"""Replies of `POST /v1/completions`, whole and in chunks."""

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import BaseModel, Field

from app.api.openai.added import (
    ConsistencyOfAnswers,
    FinishReason,
    Reply,
    Uncertainty,
    Usage,
    consistency_of,
    finish_reason,
    logprob,
    uncertainty_of,
    usage_of,
)
from app.api.openai.answering import Asked
from app.scoring.answer_stream import Piece
from models.language.generation.answers import Answer
from models.language.generation.token import Alternative, Token


class CompletionLogprobs(BaseModel):
    """Of the tokens of the answer, or of a chunk of it. Bytes that are no UTF-8 alone are written `bytes:\\x…`."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] = Field(description="The likeliest tokens, and the one that came")
    text_offset: list[int] = Field(description="Where the text of each begins in the answer, in characters")


class CompletionChoice(BaseModel):
    """One answer; of a chunk, what it adds, `uncertainty` with the finish_reason."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: FinishReason | None
    uncertainty: Uncertainty | None = None


class Completion(Reply):
    """All answers, those to one prompt together; or a chunk of a streamed reply."""

    object: Literal["text_completion"]
    choices: list[CompletionChoice]
    usage: Usage | None = None
    consistency: list[ConsistencyOfAnswers] | None = Field(
        None, description="A prompt's answers, by prompt; null for single answers, of chunks in the last with choices"
    )


class CompletionChunks:
    """The same in chunks."""

    def __init__(self, asked: Asked, logprobs: bool, usage: bool) -> None:
        self._asked = asked
        self._logprobs = logprobs
        self._usage = usage
        self._answers = [Answer() for _ in range(asked.answers)]

    def of(self, piece: Piece) -> Iterator[Completion]:
        answer = self._answers[piece.answer]
        before = len(answer.text) if self._logprobs else 0
        answer.add(piece.tokens, piece.finish)
        if not piece.tokens and piece.finish is None:
            return
        choice = _choice(piece.answer, piece.tokens, before, self._logprobs)
        if piece.finish is not None:
            choice.finish_reason = finish_reason(piece.finish)
            choice.uncertainty = uncertainty_of(answer, self._asked.predictor)
        chunk = _completion(self._asked, [choice])
        if self._usage:
            chunk.usage = None  # OpenAI's chunks say null until the last
        if all(each.finish for each in self._answers):
            chunk.consistency = _consistency(self._asked, self._answers)
        yield chunk

    def end(self) -> Iterator[Completion]:
        if self._usage:
            chunk = _completion(self._asked, [])
            chunk.usage = usage_of(self._asked.prompt_tokens, self._answers)
            yield chunk


def completion(asked: Asked, answers: Sequence[Answer], logprobs: bool) -> Completion:
    choices = []
    for number, answer in enumerate(answers):
        choice = _choice(number, answer.tokens, 0, logprobs)
        choice.finish_reason = finish_reason(answer.finish)
        choice.uncertainty = uncertainty_of(answer, asked.predictor)
        choices.append(choice)
    whole = _completion(asked, choices)
    whole.usage = usage_of(asked.prompt_tokens, answers)
    whole.consistency = _consistency(asked, answers)
    return whole


def _completion(asked: Asked, choices: list[CompletionChoice]) -> Completion:
    return Completion(**asked.head, object="text_completion", choices=choices)


def _consistency(asked: Asked, answers: Sequence[Answer]) -> list[ConsistencyOfAnswers] | None:
    found = [consistency_of(several) for several in asked.by_prompt(answers)]
    return [each for each in found if each is not None] or None


def _choice(number: int, tokens: Sequence[Token], begin: int, logprobs: bool) -> CompletionChoice:
    text = "".join(token.text for token in tokens)
    told = _logprobs(tokens, begin) if logprobs else None
    return CompletionChoice(index=number, text=text, logprobs=told, finish_reason=None)


def _logprobs(tokens: Sequence[Token], begin: int) -> CompletionLogprobs:
    offsets = []
    for token in tokens:
        offsets.append(begin)
        begin += len(token.text)
    return CompletionLogprobs(
        tokens=[_written(token) for token in tokens],
        token_logprobs=[logprob(token.log_probability) for token in tokens],
        top_logprobs=[
            {_written(each): logprob(each.log_probability) for each in token.alternatives}
            | {_written(token): logprob(token.log_probability)}
            for token in tokens
        ],
        text_offset=offsets,
    )


def _written(token: Token | Alternative) -> str:
    try:
        return token.content.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.content)
