"""One prompt of a request: what was sent to an item that a language model can be asked. Runs in the reading threads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidError, PayloadTooLargeError
from app.settings import Settings
from models.core.errors import DataError, UnsupportedError
from models.core.prompt_spec import Readout
from models.language.causal_lm import CausalLM
from models.language.continuations import ChoiceItem, EncodedItem, check_choices, encoded
from models.language.multiple_choice import Question, asked_question
from models.language.reading import tokens_of


@dataclass(frozen=True, slots=True)
class PromptInput:
    """One item as it came: a text, or the messages of a conversation with their `role` and `content`.

    The choices of a `lettered` text are written below it, and only their letters are read; a `subject` is named before
    it. `prefix` goes before a text. Without choices it is a prompt to be answered.
    """

    name: str
    content: str | tuple[Mapping[str, str], ...]
    choices: tuple[str, ...] = ()
    lettered: bool = False
    prefix: str = ""
    task: str | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class PromptRead:
    """`tokens` is how many the item has with all of its choices; `prompt` are those before them."""

    item: EncodedItem
    readout: Readout
    tokens: int
    prompt: NDArray[np.int64]


def read_prompt(given: PromptInput, language: CausalLM, readouts: Sequence[Readout], settings: Settings) -> PromptRead:
    """The item, to be read in the first of the ways that it allows.

    Raises a HowsureError that says what to send instead.
    """
    check_characters(given, settings.max_prompt_characters)
    try:
        item = encoded(language, _item(given, language))
        readout, tokens = _allowed(language, item, readouts)
        _check_tokens(tokens, settings.max_prompt_tokens)
        return PromptRead(item, readout, tokens, np.array(item.prompt, np.int64))
    except (DataError, UnsupportedError) as error:
        # The model's side numbers the items that it was given, which here is one.
        raise InvalidError(str(error).removeprefix("item 0: ")) from error


def check_characters(given: PromptInput, most: int) -> None:
    """Raises PayloadTooLargeError before much text is made into tokens."""
    if isinstance(given.content, str):
        texts = [given.prefix, given.subject or "", given.content]
    else:
        texts = [text for message in given.content for text in message.values()]
    if sum(map(len, (*texts, *given.choices))) > most:
        raise PayloadTooLargeError(f"the prompt with its choices is longer than {most} characters")


def text_of(given: PromptInput, language: CausalLM) -> str:
    """What the choices, which are not lettered, or the answer follow. Raises DataError or UnsupportedError."""
    if isinstance(given.content, str):
        return given.prefix + given.content
    return language.chat(given.content)


def _check_tokens(tokens: int, most: int) -> None:
    if tokens > most:
        raise PayloadTooLargeError(
            f"the prompt has {tokens} tokens with all of its choices, at most {most} are allowed; shorten them or send"
            " fewer choices"
        )


def _item(given: PromptInput, language: CausalLM) -> ChoiceItem:
    if given.lettered and isinstance(given.content, str):
        return _lettered(Question(given.content, given.choices, 0), given.subject, given.prefix)
    return ChoiceItem(text_of(given, language), given.choices)


def _lettered(question: Question, subject: str | None, prefix: str) -> ChoiceItem:
    """Checks what cannot be seen any more once the choices are letters."""
    if not question.text.strip():
        raise DataError("the question is empty")
    check_choices(question.choices)
    return asked_question(question, subject, prefix)


def _allowed(language: CausalLM, item: EncodedItem, readouts: Sequence[Readout]) -> tuple[Readout, int]:
    """The first readout that the item can be read by, and its tokens then. Raises the last one's DataError."""
    *preferred, last = readouts
    for readout in preferred:
        try:
            return readout, tokens_of(language, item, readout)
        except DataError:
            continue
    return last, tokens_of(language, item, last)
