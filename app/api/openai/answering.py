"""From a request to its answers: prompts that fit, a stream of answers, and all of them where it is not streamed."""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from app.api.hang_up import unless_gone
from app.errors import InvalidError, PayloadTooLargeError
from app.scoring.answer_stream import AnswerStream
from app.scoring.generation import Generation
from app.scoring.prompt_predictor import PromptPredictor
from app.settings import Settings
from models.core.errors import DataError, UnsupportedError
from models.language.causal_lm import CausalLM
from models.language.generation.answers import Answer
from models.language.generation.decoding import Prompt, fitted
from models.language.generation.sampling import Sampling


@dataclass(frozen=True, slots=True)
class Asked:
    """A request under way. `id` names the reply, `created` is Unix time."""

    id: str
    created: int
    predictor: PromptPredictor
    prompts: Sequence[Prompt]
    stream: AnswerStream

    @property
    def fingerprint(self) -> str:
        """Equal ones give equal answers to equal seeds in float32; in bfloat16 up to rounding, which the company may
        change.
        """
        return f"{self.predictor.model}-{self.predictor.version}-{self.predictor.pipeline.language.precision}"

    @property
    def head(self) -> dict[str, Any]:
        """The fields of a Reply."""
        return {
            "id": self.id,
            "created": self.created,
            "model": self.predictor.model,
            "version": self.predictor.version,
            "system_fingerprint": self.fingerprint,
        }

    @property
    def answers(self) -> int:
        return sum(prompt.count for prompt in self.prompts)

    @property
    def prompt_tokens(self) -> int:
        return sum(len(prompt.tokens) for prompt in self.prompts)

    def by_prompt(self, answers: Sequence[Answer]) -> list[Sequence[Answer]]:
        count = self.prompts[0].count
        return [answers[start : start + count] for start in range(0, len(answers), count)]


async def ask(
    generation: Generation,
    settings: Settings,
    predictor: PromptPredictor,
    read: Callable[[CausalLM], Sequence[Sequence[int]]],
    sampling: Sampling,
    count: int,
    prefix: str,
) -> Asked:
    """`read` makes the tokens of the prompts; it runs in a thread. Raises HowsureError."""

    def prompts() -> list[Prompt]:
        language = predictor.pipeline.language
        try:
            found = [Prompt(tokens, sampling, count) for tokens in read(language)]
            return [fitted(language, prompt, settings.cached_tokens) for prompt in found]
        except (DataError, UnsupportedError) as error:
            raise InvalidError(str(error)) from error

    found = await asyncio.to_thread(prompts)
    stream = generation.ask(predictor, found)
    return Asked(f"{prefix}-{uuid.uuid4().hex}", int(time.time()), predictor, found, stream)


def check_characters(settings: Settings, parts: Iterable[Sized]) -> None:
    """Raises PayloadTooLargeError before much text is made into tokens; a token that was sent counts as a character."""
    if sum(map(len, parts)) > (most := settings.max_prompt_characters):
        raise PayloadTooLargeError(f"the prompt is longer than {most} characters")


def check_answers(settings: Settings, answers: int) -> None:
    """Raises PayloadTooLargeError for more than could ever be admitted."""
    if answers > settings.queue_items:
        raise PayloadTooLargeError(f"{answers} answers in a request, at most {settings.queue_items} allowed")


async def whole_answers(request: Request, asked: Asked) -> list[Answer]:
    """Raises ClientGoneError, and drops the answers, when the client leaves."""
    try:
        return await unless_gone(request, _collect(asked))
    finally:
        asked.stream.close()


async def _collect(asked: Asked) -> list[Answer]:
    answers = [Answer() for _ in range(asked.answers)]
    async for piece in asked.stream:
        answers[piece.answer].add(piece.tokens, piece.finish)
    return answers
