"""Replies of `POST /v1/chat/completions`, whole and in chunks."""

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


class ChatAlternative(BaseModel):
    """A token that could have come; `bytes` as they would stand in the text."""

    token: str = Field(description="Bytes that are no UTF-8 by themselves are written \\x…")
    logprob: float
    bytes: list[int]


class ChatToken(ChatAlternative):
    """A token of the answer."""

    top_logprobs: list[ChatAlternative]


class ChatLogprobs(BaseModel):
    """Of the tokens of the answer, or of a chunk of it."""

    content: list[ChatToken]
    refusal: None = None


class ChatAnswer(BaseModel):
    """The message that answers."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class ChatChoice(BaseModel):
    """One answer."""

    index: int
    message: ChatAnswer
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason
    uncertainty: Uncertainty


class ChatCompletion(Reply):
    """All answers."""

    object: Literal["chat.completion"] = "chat.completion"
    choices: list[ChatChoice]
    usage: Usage
    consistency: ConsistencyOfAnswers | None = Field(description="null for a single answer")


class ChatDelta(BaseModel):
    """What a chunk adds to a message."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChatChunkChoice(BaseModel):
    """What a chunk adds to an answer; `uncertainty` comes with the finish_reason."""

    index: int
    delta: ChatDelta
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason | None
    uncertainty: Uncertainty | None = None


class ChatChunk(Reply):
    """A part of a streamed reply; `consistency` comes when the last of several answers is whole."""

    object: Literal["chat.completion.chunk"]
    choices: list[ChatChunkChoice]
    usage: Usage | None = None
    consistency: ConsistencyOfAnswers | None = None


def chat_completion(asked: Asked, answers: Sequence[Answer], logprobs: bool) -> ChatCompletion:
    return ChatCompletion(
        **asked.head,
        choices=[_choice(asked, number, answer, logprobs) for number, answer in enumerate(answers)],
        usage=usage_of(asked.prompt_tokens, answers),
        consistency=consistency_of(answers),
    )


class ChatChunks:
    """The same in chunks."""

    def __init__(self, asked: Asked, logprobs: bool, usage: bool) -> None:
        self._asked = asked
        self._logprobs = logprobs
        self._usage = usage
        self._answers = [Answer() for _ in range(asked.answers)]
        self._begun: set[int] = set()

    def of(self, piece: Piece) -> Iterator[ChatChunk]:
        answer = self._answers[piece.answer]
        answer.add(piece.tokens, piece.finish)
        if piece.answer not in self._begun:
            self._begun.add(piece.answer)
            yield self._chunk([self._part(piece.answer, ChatDelta(role="assistant", content=""))])
        if piece.tokens:
            text = "".join(token.text for token in piece.tokens)
            yield self._chunk([self._part(piece.answer, ChatDelta(content=text), piece.tokens)])
        if piece.finish is not None:
            part = self._part(piece.answer, ChatDelta())
            part.finish_reason = finish_reason(piece.finish)
            part.uncertainty = uncertainty_of(answer, self._asked.predictor)
            chunk = self._chunk([part])
            if len(self._answers) > 1 and all(each.finish for each in self._answers):
                chunk.consistency = consistency_of(self._answers)
            yield chunk

    def end(self) -> Iterator[ChatChunk]:
        if self._usage:
            chunk = self._chunk([])
            chunk.usage = usage_of(self._asked.prompt_tokens, self._answers)
            yield chunk

    def _part(self, number: int, delta: ChatDelta, tokens: Sequence[Token] = ()) -> ChatChunkChoice:
        logprobs = _logprobs(tokens) if self._logprobs and tokens else None
        return ChatChunkChoice(index=number, delta=delta, logprobs=logprobs, finish_reason=None)

    def _chunk(self, choices: list[ChatChunkChoice]) -> ChatChunk:
        chunk = ChatChunk(**self._asked.head, object="chat.completion.chunk", choices=choices)
        if self._usage:
            chunk.usage = None  # OpenAI's chunks say null until the last
        return chunk


def _choice(asked: Asked, number: int, answer: Answer, logprobs: bool) -> ChatChoice:
    return ChatChoice(
        index=number,
        message=ChatAnswer(content=answer.text),
        logprobs=_logprobs(answer.tokens) if logprobs else None,
        finish_reason=finish_reason(answer.finish),
        uncertainty=uncertainty_of(answer, asked.predictor),
    )


def _logprobs(tokens: Sequence[Token]) -> ChatLogprobs:
    return ChatLogprobs(
        content=[
            ChatToken(**_written(token), top_logprobs=[ChatAlternative(**_written(it)) for it in token.alternatives])
            for token in tokens
        ],
        refusal=None,
    )


def _written(token: Token | Alternative) -> dict[str, object]:
    return {
        "token": token.content.decode(errors="backslashreplace"),
        "logprob": logprob(token.log_probability),
        "bytes": list(token.content),
    }
