"""Where a choice begins in the tokens of prompt and choice.

The rule: the sequence is that of the whole text, prompt and choice written together, as the model met such text in
training. The choice is what follows the longest beginning that this sequence shares with the prompt's own tokens. Most
often that is the prompt; where a token crosses the border ("Answer: " and "A" give " A"), the choice begins with that
token. A prompt of token numbers is taken as it is, and the choice encoded by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from models.core.errors import DataError
from models.language.causal_lm import CausalLM

MOST_CHOICES = 64  # Ours


@dataclass(frozen=True, slots=True)
class ChoiceItem:
    """A prompt, as text or token numbers, and the texts that may follow it, leading spaces included."""

    prompt: str | tuple[int, ...]
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Continuation:
    """`tokens` of prompt and choice; those from `begin` (at least 1) are the choice's."""

    tokens: tuple[int, ...]
    begin: int


@dataclass(frozen=True, slots=True)
class EncodedItem:
    """A ChoiceItem with its tokens: whoever had to look at them passes them on, and nobody makes them twice."""

    choices: tuple[str, ...]
    continuations: tuple[Continuation, ...]

    @property
    def prompt(self) -> tuple[int, ...]:
        """The tokens before the earliest choice."""
        first = min(self.continuations, key=lambda each: each.begin)
        return first.tokens[: first.begin]


Item = ChoiceItem | EncodedItem


def encoded(model: CausalLM, item: ChoiceItem) -> EncodedItem:
    """Raises DataError as `item_continuations`."""
    return EncodedItem(item.choices, item_continuations(model, [item])[0])


def item_continuations(model: CausalLM, items: Sequence[Item]) -> list[tuple[Continuation, ...]]:
    """One continuation a choice of each item. Raises DataError, with the item's number, for one that cannot be asked:
    an empty prompt, fewer than 2 or more than 64 choices, an empty or repeated choice, more tokens than the context.
    """
    if not items:
        raise DataError("there is no item to score")
    return [_of_item(model, number, item) for number, item in enumerate(items)]


def _of_item(model: CausalLM, number: int, item: Item) -> tuple[Continuation, ...]:
    if isinstance(item, EncodedItem):
        return item.continuations
    try:
        check_choices(item.choices)
        prompt = _prompt_tokens(model, item.prompt)
        return tuple(_continuation(model, item.prompt, prompt, choice) for choice in item.choices)
    except DataError as error:
        raise DataError(f"item {number}: {error}", [(str(number), str(error))]) from error


def continuation(model: CausalLM, prompt: str, text: str) -> Continuation:
    """Of one text after a prompt. Raises DataError as `item_continuations`."""
    return _continuation(model, prompt, _prompt_tokens(model, prompt), text)


def check_choices(choices: Sequence[str]) -> None:
    """Raises DataError for too few or too many, and for an empty or repeated one."""
    if not 2 <= len(choices) <= MOST_CHOICES:
        raise DataError(f"{len(choices)} choices; give 2 to {MOST_CHOICES}")
    if not all(choices):
        raise DataError("a choice is empty; give every choice a text")
    repeated = {choice for choice in choices if choices.count(choice) > 1}
    if repeated:
        raise DataError(f"choices are given twice: {sorted(repeated)}")


def _prompt_tokens(model: CausalLM, prompt: str | tuple[int, ...]) -> list[int]:
    tokens = model.encode(prompt) if isinstance(prompt, str) else list(prompt)
    if not prompt or not tokens:
        raise DataError("the prompt is empty")
    if not all(0 <= token < model.vocabulary for token in tokens):
        raise DataError(f"the prompt has token numbers outside 0..{model.vocabulary - 1}")
    return tokens


def _continuation(model: CausalLM, prompt: str | tuple[int, ...], tokens: list[int], choice: str) -> Continuation:
    whole = model.encode(prompt + choice) if isinstance(prompt, str) else [*tokens, *model.encode_more(choice)]
    begin = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(tokens, whole, strict=False)))
    if len(whole) > model.context:
        raise DataError(f"{len(whole)} tokens with the choice, the model's context is {model.context}; shorten it")
    if begin == len(whole):
        raise DataError(f"the choice {choice!r} adds no token to the prompt")
    if begin == 0:
        raise DataError(f"the choice {choice!r} leaves no token of the prompt before it; lengthen the prompt")
    return Continuation(tuple(whole), begin)
