"""The answers of one version of a language model: those that grow together, and those that wait for room."""

from collections import deque
from dataclasses import dataclass

from app.errors import InternalError
from app.scoring.answer_stream import AnswerStream, Piece, Written
from models.language.generation.decoding import Decoding, Prompt
from models.language.generation.sequence import Grown, Sequence
from models.language.generation.token import Finish
from models.language.pipeline import LanguagePipeline


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt of a request; its answers are numbered from `first` on."""

    prompt: Prompt
    stream: AnswerStream
    first: int


class RunningAnswers:
    """For one thread. Prompts join in the order in which they came."""

    def __init__(self, pipeline: LanguagePipeline, budget: int) -> None:
        self._decoding = Decoding(pipeline.language, budget, pipeline.token_temperature)
        self._waiting: deque[Asked] = deque()
        self._growing: dict[Sequence, Asked] = {}

    @property
    def running(self) -> int:
        return len(self._growing)

    @property
    def answers(self) -> int:
        """How many wait or grow."""
        return len(self._growing) + sum(asked.prompt.count for asked in self._waiting)

    def ask(self, asked: Asked) -> None:
        self._waiting.append(asked)

    def drop_gone(self) -> None:
        """Frees the room of answers that nobody waits for."""
        self._waiting = deque(asked for asked in self._waiting if not asked.stream.gone)
        for sequence, asked in list(self._growing.items()):
            if asked.stream.gone:
                self._decoding.leave(sequence)
                del self._growing[sequence]

    def step(self) -> list[tuple[AnswerStream, Written]]:
        """Lets in what has room, then goes on by a token."""
        while self._waiting and self._decoding.has_room(self._waiting[0].prompt):
            asked = self._waiting[0]
            self._growing |= dict.fromkeys(self._decoding.join(asked.prompt), asked)
            self._waiting.popleft()  # only now: `fail` tells those that wait or grow
        return [self._written(grown) for grown in self._decoding.step()]

    def fail(self, error: InternalError) -> list[tuple[AnswerStream, Written]]:
        """Ends all that wait or grow, and says what they are told; the batch cannot go on."""
        streams = {asked.stream for asked in (*self._growing.values(), *self._waiting)}
        self._growing.clear()
        self._waiting.clear()
        return [(stream, error) for stream in streams]

    def _written(self, grown: Grown) -> tuple[AnswerStream, Written]:
        asked = self._growing[grown.sequence]
        if grown.finish is not None:
            del self._growing[grown.sequence]
        if grown.finish is Finish.BROKEN:
            return asked.stream, InternalError("the model gave no finite probabilities for this prompt")
        return asked.stream, Piece(asked.first + grown.sequence.number, grown.tokens, grown.finish)
