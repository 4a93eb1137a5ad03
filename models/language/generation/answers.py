"""All answers to some prompts at once, for callers that need not see them grow."""

from collections import deque
from collections.abc import Sequence as Several
from dataclasses import dataclass, field

from models.language.causal_lm import CausalLM
from models.language.generation.decoding import Decoding, Prompt, fitted
from models.language.generation.sequence import Sequence
from models.language.generation.token import Finish, Token

CACHED = 32_768  # tokens. Ours: four sequences of 8192; 0.75 GB of SmolLM2-135M in bfloat16


@dataclass(slots=True)
class Answer:
    """A whole answer; `finish` is None while it grows."""

    tokens: list[Token] = field(default_factory=list)
    finish: Finish | None = None

    @property
    def text(self) -> str:
        return "".join(token.text for token in self.tokens)

    def add(self, tokens: Several[Token], finish: Finish | None) -> None:
        self.tokens += tokens
        self.finish = finish


def answer(model: CausalLM, prompts: Several[Prompt], budget: int = CACHED) -> list[list[Answer]]:
    """The answers to every prompt, in order. Raises DataError as `fitted` does."""
    waiting = deque(enumerate([fitted(model, prompt, budget) for prompt in prompts]))
    answers = [[Answer() for _ in range(prompt.count)] for prompt in prompts]
    decoding = Decoding(model, budget)
    growing: dict[Sequence, Answer] = {}
    while waiting or decoding.sequences:
        while waiting and decoding.has_room(waiting[0][1]):
            number, prompt = waiting.popleft()
            growing |= dict(zip(decoding.join(prompt), answers[number], strict=True))
        for grown in decoding.step():
            growing[grown.sequence].add(grown.tokens, grown.finish)
    return answers
