"""Prompts without choices: the greedy answer to each, and sampled ones that show how far the model agrees."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from app.errors import HowsureError, InvalidError, PayloadTooLargeError
from app.scoring.generation import Generation
from app.scoring.prompt_intake import PromptInput, check_characters, text_of
from app.scoring.prompt_predictor import PromptPredictor
from app.settings import Settings
from app.telemetry import Metrics
from models.core.errors import DataError, UnsupportedError
from models.language.generation.answers import Answer
from models.language.generation.decoding import Prompt, fitted
from models.language.generation.sampling import Sampling


@dataclass(frozen=True, slots=True)
class AnswersAsked:
    """What a request wants of every prompt: a greedy answer, and so many `samples` at a temperature."""

    max_tokens: int
    stops: tuple[str, ...] = ()
    samples: int = 0
    temperature: float = 1.0
    seed: int | None = None

    @property
    def count(self) -> int:
        """Answers to each prompt."""
        return 1 + self.samples

    def prompts(self, tokens: Sequence[int]) -> list[Prompt]:
        greedy = Prompt(tokens, Sampling(self.max_tokens, temperature=0.0, stops=self.stops))
        if not self.samples:
            return [greedy]
        sampling = Sampling(self.max_tokens, self.temperature, seed=self.seed, stops=self.stops)
        return [greedy, Prompt(tokens, sampling, self.samples)]


@dataclass(frozen=True, slots=True)
class AnsweredPrompt:
    """`answer` is the greedy one; `tokens` are those of the prompt and of all answers."""

    answer: Answer
    samples: tuple[Answer, ...]
    tokens: int


AnswerOutcome = AnsweredPrompt | HowsureError


class PromptAnswerer:
    """What the routes know of prompts without choices. The generation thread does the work."""

    def __init__(self, settings: Settings, metrics: Metrics, generation: Generation) -> None:
        self.settings = settings
        self.metrics = metrics
        self.generation = generation

    async def answer(
        self,
        predictor: PromptPredictor,
        prompts: Sequence[PromptInput],
        asked: AnswersAsked,
        timings: dict[str, float],
    ) -> list[AnswerOutcome]:
        """Answer every prompt; a bad one gets its error in its place.

        Raises a HowsureError that concerns the whole request: too many answers, no room in the queue, time up.
        Cancelling the call ends the answers before their next token.
        """
        self.check_room(len(prompts), asked)
        started = time.perf_counter()
        read = await asyncio.to_thread(lambda: [self._read(predictor, given, asked) for given in prompts])
        asked_for = [prompt for found in read if not isinstance(found, HowsureError) for prompt in found]
        answers = iter(await self._answers(predictor, asked_for))
        outcomes = [found if isinstance(found, HowsureError) else _answered(found, answers) for found in read]
        timings["answer"] = time.perf_counter() - started
        for outcome in outcomes:
            what = outcome.code if isinstance(outcome, HowsureError) else "scored"
            self.metrics.items.labels(predictor.model, what).inc()
        return outcomes

    def check_room(self, prompts: int, asked: AnswersAsked) -> None:
        """Raises PayloadTooLargeError for more answers than could ever be admitted, else what generation raises."""
        if (answers := prompts * asked.count) > (most := self.settings.queue_items):
            raise PayloadTooLargeError(f"{answers} answers in a request with the samples, at most {most} allowed")
        self.generation.check_room(answers)

    def _read(self, predictor: PromptPredictor, given: PromptInput, asked: AnswersAsked) -> list[Prompt] | HowsureError:
        language = predictor.pipeline.language
        try:
            check_characters(given, self.settings.max_prompt_characters)
            if not (text := text_of(given, language)):
                raise DataError("the prompt is empty")
            tokens = language.encode(text)
            return [fitted(language, prompt, self.settings.cached_tokens) for prompt in asked.prompts(tokens)]
        except HowsureError as error:
            return error
        except (DataError, UnsupportedError) as error:
            return InvalidError(str(error))

    async def _answers(self, predictor: PromptPredictor, prompts: Sequence[Prompt]) -> list[Answer]:
        answers = [Answer() for prompt in prompts for _ in range(prompt.count)]
        if prompts:
            stream = self.generation.ask(predictor, prompts)
            try:
                async for piece in stream:
                    answers[piece.answer].add(piece.tokens, piece.finish)
            finally:
                stream.close()
        return answers


def _answered(prompts: Sequence[Prompt], answers: Iterator[Answer]) -> AnsweredPrompt:
    greedy, *samples = islice(answers, sum(prompt.count for prompt in prompts))
    made = sum(len(answer.tokens) for answer in (greedy, *samples))
    return AnsweredPrompt(greedy, tuple(samples), len(prompts[0].tokens) + made)
