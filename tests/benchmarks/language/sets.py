"""The labelled sets as few-shot prompts, in two disjoint parts: one to fit on, and one to report on.

Choices are letters, as MMLU has them, or the classes' own names, which a small model understands better.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from models.language.continuations import ChoiceItem
from models.language.multiple_choice import Question, lettered_item
from tests.benchmarks.language.mmlu import SEED, Asked, asked, question, rows, some, some_subjects

MMLU = "mmlu"
MMLU_FIT, MMLU_REPORT = 8, 10  # questions of each of the 57 subjects; val has at least 8
FIT, REPORT = 300, 500

Form = Callable[[Question, Sequence[Question]], ChoiceItem]  # a question after some solved ones


@dataclass(frozen=True, slots=True)
class Parts:
    """`about` says where the items come from, for the reader of a table."""

    fit: Asked
    report: Asked
    about: str


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """Two files, or one that is split; `choices` of each item, `shots` solved ones for each place of the answer."""

    fit: str
    report: str
    choices: int
    shots: int
    question: Callable[[dict], Question]
    form: Form

    def parts(self) -> Parts:
        fit_rows, report_rows = (self._rows(name) for name in (self.fit, self.report))
        shots = self._shots(fit_rows)
        used = {shot["id"] for shot in shots}
        fit = some([row for row in fit_rows if row["id"] not in used], FIT)
        used |= {row["id"] for row in fit}
        report = some([row for row in report_rows if row["id"] not in used], REPORT)
        source = self.fit if self.fit == self.report else f"{self.fit} (fit, solved ones) and {self.report} (report)"
        item = self._asked(report[:1], shots).items[0]
        about = f"{source}, {len(shots)} solved ones before each, {self.shots} for each answer; choices"
        return Parts(
            self._asked(fit, shots), self._asked(report, shots), f"{about} {','.join(item.choices)}; seed {SEED}"
        )

    def _rows(self, name: str) -> list[dict]:
        return [row for row in rows(name) if len(self.question(row).choices) == self.choices]

    def _shots(self, found: Sequence[dict]) -> list[dict]:
        each = [
            some([row for row in found if self.question(row).answer == place], self.shots)
            for place in range(self.choices)
        ]
        return some([row for group in each for row in group], self.shots * self.choices)

    def _asked(self, chosen: Sequence[dict], shots: Sequence[dict]) -> Asked:
        solved, questions = [self.question(shot) for shot in shots], [self.question(row) for row in chosen]
        items = [self.form(each, solved) for each in questions]
        return Asked(items, torch.tensor([each.answer for each in questions]), [self.report] * len(items))


def lettered(subject: str) -> Form:
    introduction = f"The following are multiple choice questions (with answers) about {subject}.\n\n"
    return lambda question, shots: lettered_item(question, introduction, shots)


def named(text: str, answer: str) -> Form:
    """Lines `text: ...` and `answer: ...`, the choices as they are."""

    def asked_of(question: Question) -> str:
        return f"{text}: {question.text.strip()}\n{answer}:"

    def form(question: Question, shots: Sequence[Question]) -> ChoiceItem:
        solved = "".join(f"{asked_of(shot)} {shot.choices[shot.answer]}\n\n" for shot in shots)
        return ChoiceItem(f"{solved}{asked_of(question)}", tuple(f" {each}" for each in question.choices))

    return form


def film_review(row: dict) -> Question:
    return Question(row["text"], ("negative", "positive"), row["label"])


def news(row: dict) -> Question:
    return Question(row["text"], ("World", "Sports", "Business", "Technology"), row["label"])


SETS = {
    "sst2": LabelledSet("sst2_train", "sst2_shared", 2, 2, film_review, named("Review", "Sentiment")),
    "ag_news": LabelledSet("ag_news_test_shared", "ag_news_test_shared", 4, 1, news, named("Article", "Topic")),
    "commonsenseqa": LabelledSet(
        "commonsenseqa_train2500", "commonsenseqa_dev_shared", 5, 1, question, lettered("common sense")
    ),
    "arc_easy": LabelledSet("arc_easy_test_shared", "arc_easy_test_shared", 4, 1, question, lettered("science")),
}
NAMES = (MMLU, *SETS)


def parts(name: str) -> Parts:
    if name != MMLU:
        return SETS[name].parts()
    subjects = some_subjects(57)
    about = f"mmlu_val (fit) and mmlu_test_shared (report), all {len(subjects)} subjects, 5 solved ones of the subject"
    return Parts(
        asked("mmlu_val", subjects, MMLU_FIT),
        asked("mmlu_test_shared", subjects, MMLU_REPORT),
        f"{about} before each; seed {SEED}",
    )
