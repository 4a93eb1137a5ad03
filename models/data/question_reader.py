"""Questions out of a .jsonl file, an object a line, in one of three forms.

{"prompt", "choices", "answer", "task"?}                 asked as it is: a choice follows the prompt
{"question", "choices", "answer", "subject"?, "task"?}  MMLU's form: the choices are lettered below the question
{"prompt", "completion", "task"?}                        a reference answer, which follows the prompt as it is

A row without a task is of the task that its subject names.
"""

import json
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

from models.core.errors import DataError
from models.data.dataset import Source
from models.data.inspection import Findings
from models.data.json_lines import json_lines
from models.data.limits import DataLimits
from models.data.questions import (
    FEWEST_CHOICES,
    MOST_CHOICES,
    MOST_LETTERS,
    AskedDataset,
    AskedQuestion,
    CompletionDataset,
    QuestionDataset,
)

NAMES = ("task", "subject")  # the first one given is the row's task
LONGEST_NAME = 200  # characters


def holds_questions(path: Path, limits: DataLimits) -> bool:
    """As the first object tells that has `choices` or a `completion` (questions) or `logits` (outputs); a bad row
    before it has no say.

    Where no object has any of them, a `prompt` or a `question` of any of them tells. Raises DataError.
    """
    asked = False
    for fields in (_parsed(line) for _, line in json_lines(path, limits)):
        if not isinstance(fields, dict):
            continue
        if fields.keys() & {"choices", "completion", "logits"}:
            return "logits" not in fields
        asked = asked or "prompt" in fields or "question" in fields
    return asked


def read_questions(source: Source, path: Path, limits: DataLimits) -> AskedDataset:
    """All rows have the form of the first good one; keys beside those above are ignored. Raises DataError."""
    rows = _Rows()
    for row, line in json_lines(path, limits):
        if len(rows.questions) + rows.findings.count >= limits.rows:
            raise DataError(f"more than {limits.rows} rows; upload them in parts")
        rows.add(row, _parsed(line))
    kind = CompletionDataset if rows.form is Form.COMPLETION else QuestionDataset
    return kind(source, rows.questions, rows.findings)


class Form(StrEnum):
    """Of a row, by the field that only such rows have."""

    PROMPT = "`prompt` with `choices`"
    QUESTION = "`question`"
    COMPLETION = "`prompt` with `completion`"


class _Rows:
    def __init__(self) -> None:
        self.questions: dict[str, AskedQuestion] = {}
        self.findings = Findings()
        self._seen: dict[tuple[str, frozenset[str]], str] = {}
        self.form: Form | None = None

    def add(self, row: str, fields: Any) -> None:
        if reason := next(_why_no_row(fields), None):
            self.findings.add(row, reason)
            return
        question, form = _question(fields), _form(fields)
        if reason := self._why_not_beside(question, form):
            self.findings.add(row, reason)
            return
        self.questions[row] = question
        self._seen[_what_is_asked(question)] = row
        self.form = form

    def _why_not_beside(self, question: AskedQuestion, form: Form) -> str:
        if self.form not in (None, form):
            return f"has {form}, but the rows before it {self.form}: upload them as two files"
        # The same question among the rows that are fitted on and those that are reported on would be a leak.
        first = self._seen.get(_what_is_asked(question))
        return f"the same as {first}" if first else ""


def _what_is_asked(question: AskedQuestion) -> tuple[str, frozenset[str]]:
    """Equal for one question with other spacing, or with its choices in another order, and for one prompt with two
    reference answers."""
    choices = frozenset(question.choices) if len(question.choices) > 1 else frozenset[str]()
    return " ".join(question.text.split()), choices


def _parsed(line: str) -> Any:
    """None for what is no JSON."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _form(fields: dict[str, Any]) -> Form:
    if "question" in fields:
        return Form.QUESTION
    return Form.COMPLETION if "completion" in fields and "choices" not in fields else Form.PROMPT


def _question(fields: dict[str, Any]) -> AskedQuestion:
    alone = _form(fields) is Form.COMPLETION
    choices, answer = ((fields["completion"],), 0) if alone else (tuple(fields["choices"]), fields["answer"])
    return AskedQuestion(
        text=fields["question"] if "question" in fields else fields["prompt"],
        choices=choices,
        answer=choices.index(answer) if isinstance(answer, str) else answer,
        task=next((fields[name] for name in NAMES if fields.get(name) is not None), None),
        lettered="question" in fields,
        subject=fields.get("subject"),
    )


def _why_no_row(fields: Any) -> Iterator[str]:
    """Reasons, of which the later ones rely on the earlier ones not being there."""
    if not isinstance(fields, dict):
        yield "no JSON object"
        return
    if ("prompt" in fields) == ("question" in fields):
        yield "give either `prompt`, which is asked as it is, or `question`, whose choices are lettered"
    name = "question" if "question" in fields else "prompt"
    if not _is_text(fields.get(name)) or not fields[name].strip():
        yield f"`{name}` must be a text that is not empty"
    if name == "question" and "completion" in fields and "choices" not in fields:
        yield "a `completion` follows a `prompt`, not a `question`"
    if _form(fields) is Form.COMPLETION:
        if not _is_text(fields["completion"]) or not fields["completion"].strip():
            yield "`completion` must be a text that is not empty"
    else:
        yield from _why_no_choices(fields.get("choices"), MOST_LETTERS if name == "question" else MOST_CHOICES)
        yield from _why_no_answer(fields.get("answer"), fields["choices"])
    for name in NAMES:
        given = fields.get(name)
        if given is not None and not (_is_text(given) and 0 < len(given) <= LONGEST_NAME and given.isprintable()):
            yield f"its {name} must be 1 to {LONGEST_NAME} printable characters"


def _why_no_choices(choices: Any, most: int) -> Iterator[str]:
    if not isinstance(choices, list) or not all(_is_text(choice) for choice in choices):
        yield "`choices` must be a list of texts"
        return
    if not FEWEST_CHOICES <= len(choices) <= most:
        yield f"{len(choices)} choices; give {FEWEST_CHOICES} to {most}"
    if not all(choices):
        yield "a choice is empty"
    if len(set(choices)) != len(choices):
        yield "a choice is given twice"


def _why_no_answer(answer: Any, choices: list[str]) -> Iterator[str]:
    if type(answer) not in (int, str):
        yield "`answer` must be the place of a choice, counted from 0, or its text"
    elif isinstance(answer, str) and answer not in choices:
        yield f"its answer {answer[:40]!r} is none of its choices: give the choice's text, or its place counted from 0"
    elif isinstance(answer, int) and not 0 <= answer < len(choices):
        yield f"answer {str(answer)[:40]}, but places 0 to {len(choices) - 1}"


def _is_text(value: Any) -> bool:
    """Whether it is a string that can be written as UTF-8, which half of a surrogate pair cannot."""
    return isinstance(value, str) and value.encode(errors="ignore").decode() == value
