"""Questions with lettered choices as text, in MMLU's own form (Hendrycks et al. 2021, arXiv 2009.03300, appendix)."""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from models.core.errors import DataError
from models.language.continuations import ChoiceItem


@dataclass(frozen=True, slots=True)
class Question:
    """`answer` is the place of the right choice."""

    text: str
    choices: tuple[str, ...]
    answer: int


def letters(count: int) -> tuple[str, ...]:
    """ " A", " B", …, as they follow "Answer:". Raises DataError beyond Z."""
    if count > len(ascii_uppercase):
        raise DataError(f"{count} choices have no letters, which end at Z; score them as texts")
    return tuple(f" {letter}" for letter in ascii_uppercase[:count])


def lettered_item(question: Question, introduction: str = "", shots: Sequence[Question] = ()) -> ChoiceItem:
    """`introduction` (such as `about_subject`), the solved `shots`, and the question up to "Answer:"."""
    solved = "".join(f"{_asked(shot)}{letters(len(shot.choices))[shot.answer]}\n\n" for shot in shots)
    return ChoiceItem(f"{introduction}{solved}{_asked(question)}", letters(len(question.choices)))


def asked_question(question: Question, subject: str | None, prefix: str = "") -> ChoiceItem:
    """As a job and a request both ask it: `about_subject` where a subject is given, and else nothing, before it.

    `prefix` goes before all of that.
    """
    return lettered_item(question, prefix + (about_subject(subject) if subject else ""))


def about_subject(subject: str) -> str:
    """MMLU's first line, for a subject as its files name it."""
    return f"The following are multiple choice questions (with answers) about {subject.replace('_', ' ')}.\n\n"


def _asked(question: Question) -> str:
    named = zip(letters(len(question.choices)), question.choices, strict=True)
    return "\n".join([question.text.strip(), *(f"{letter[1:]}. {choice}" for letter, choice in named), "Answer:"])
