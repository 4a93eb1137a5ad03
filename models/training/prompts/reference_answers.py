"""Rows as prompts that are answered freely, and the tokens of their reference answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.core.errors import DataError
from models.data.questions import AskedQuestion
from models.language.causal_lm import CausalLM
from models.language.continuations import Continuation, continuation


@dataclass(frozen=True, slots=True)
class ReferenceAnswers:
    """The answers by row name, and why other rows have none that could be read."""

    found: Mapping[str, Continuation]
    bad: Mapping[str, str]


def free_form(question: AskedQuestion) -> tuple[str, str]:
    """A prompt that does not show the choices, and the text of the right one as its answer."""
    right = question.choices[question.answer]
    if question.lettered:
        return f"{question.text.strip()}\nAnswer:", f" {right.strip()}"
    return question.text, right


def reference_answers(
    model: CausalLM, rows: Mapping[str, AskedQuestion], names: Sequence[str], most: int, fewest: int
) -> ReferenceAnswers:
    """Of the rows of these names, in this order, until they are `fewest` and have `most` tokens."""
    found, bad, tokens = dict[str, Continuation](), dict[str, str](), 0
    for name in names:
        if tokens >= most and len(found) >= fewest:
            break
        try:
            found[name] = continuation(model, *free_form(rows[name]))
        except DataError as error:
            bad[name] = str(error)
            continue
        tokens += len(found[name].tokens) - found[name].begin
    return ReferenceAnswers(found, bad)
