"""The questions that `smollm2-135m` is calibrated on, and the others that it is judged by, from five public sets.

All are asked without solved examples: MMLU, ARC and CommonsenseQA with lettered choices, the two sets of labelled texts
by the names of their classes.
"""

import gzip
import hashlib
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.core.checkpoint import file_sha256
from models.core.manifest import DataUse
from models.data.questions import AskedQuestion
from models.data.splits import fingerprint
from models.language.multiple_choice import Question, asked_question
from models.training.prompts.rows import QuestionRows

FITTED, REPORTED = "fit", "report"
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """Files (without their endings) to fit on and to report on, which may be one; how many rows of each."""

    task: str
    fit: str
    report: str
    rows: int
    asked: Callable[[Row], AskedQuestion]

    def parts(self, data: Path, seed: int) -> tuple[list[Row], list[Row]]:
        """Disjoint, in an order by the seed."""
        fit = _shuffled(data / f"{self.fit}.jsonl.gz", seed)[: self.rows]
        used = {row["id"] for row in fit} if self.fit == self.report else set()
        report = [row for row in _shuffled(data / f"{self.report}.jsonl.gz", seed) if row["id"] not in used]
        return fit, report[: self.rows]


@dataclass(frozen=True, slots=True)
class Chosen:
    """Rows for one part of a version's data."""

    name: str
    sha256: str
    role: str
    rows: QuestionRows
    note: str
    uses: tuple[DataUse, ...] = ()  # by file, where the rows are of several

    @property
    def digest(self) -> str:
        """A short name that only the same questions have."""
        told = "\n".join(
            f"{name}\n{question}" for name, question in zip(self.rows.names, self.rows.questions, strict=True)
        )
        return hashlib.sha256(told.encode()).hexdigest()[:16]


def chosen_rows(data: Path, seed: int) -> Iterator[Chosen]:
    """First all rows to fit on, then those of each set to report on."""
    parts = [each.parts(data, seed) for each in SETS]
    fit = [pair for each, (rows, _) in zip(SETS, parts, strict=True) for pair in _named(each, rows)]
    uses = tuple(_use(each, data, rows) for each, (rows, _) in zip(SETS, parts, strict=True))
    digest = hashlib.sha256("".join(use.sha256 for use in uses).encode()).hexdigest()
    name = " + ".join(use.name for use in uses)
    yield Chosen(name, digest, FITTED, _rows(fit), "fitted on these rows: not evidence", uses)
    for each, (_, rows) in zip(SETS, parts, strict=True):
        sha256 = file_sha256(data / f"{each.report}.jsonl.gz")
        yield Chosen(each.report, sha256, REPORTED, _rows(_named(each, rows)), f"task {each.task}; not fitted on")


def _use(each: QuestionSet, data: Path, rows: Sequence[Row]) -> DataUse:
    """So that a job that is given the file itself sees that it is no evidence."""
    sha256 = file_sha256(data / f"{each.fit}.jsonl.gz")
    return DataUse(each.fit, sha256, FITTED, len(rows), fingerprint([row["id"] for row in rows]))


def _shuffled(path: Path, seed: int) -> list[Row]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    random.Random(seed).shuffle(rows)
    return rows


def _named(each: QuestionSet, rows: Sequence[Row]) -> list[tuple[str, AskedQuestion]]:
    return [(row["id"], each.asked(row)) for row in rows]


def _rows(pairs: Sequence[tuple[str, AskedQuestion]]) -> QuestionRows:
    return QuestionRows(tuple(name for name, _ in pairs), tuple(question for _, question in pairs))


def _lettered(task: str) -> Callable[[Row], AskedQuestion]:
    """After MMLU's first line where the row has a subject, as the service asks a question."""

    def asked(row: Row) -> AskedQuestion:
        question = Question(row["question"], tuple(row["choices"]), row["answer"])
        item = asked_question(question, row.get("subject"))
        return AskedQuestion(str(item.prompt), item.choices, row["answer"], task, lettered=False)

    return asked


def _named_class(task: str, text: str, answer: str, classes: tuple[str, ...]) -> Callable[[Row], AskedQuestion]:
    def asked(row: Row) -> AskedQuestion:
        prompt = f"{text}: {row['text'].strip()}\n{answer}:"
        return AskedQuestion(prompt, tuple(f" {name}" for name in classes), row["label"], task, lettered=False)

    return asked


SETS = (
    QuestionSet("mmlu", "mmlu_val", "mmlu_test_shared", 1000, _lettered("mmlu")),
    QuestionSet("arc_easy", "arc_easy_test_shared", "arc_easy_test_shared", 300, _lettered("arc_easy")),
    QuestionSet(
        "commonsenseqa", "commonsenseqa_train2500", "commonsenseqa_dev_shared", 300, _lettered("commonsenseqa")
    ),
    QuestionSet(
        "sst2",
        "sst2_train",
        "sst2_shared",
        300,
        _named_class("sst2", "Review", "Sentiment", ("negative", "positive")),
    ),
    QuestionSet(
        "ag_news",
        "ag_news_test_shared",
        "ag_news_test_shared",
        300,
        _named_class("ag_news", "Article", "Topic", ("World", "Sports", "Business", "Technology")),
    ),
)
